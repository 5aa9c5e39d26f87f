//! Samplers and editing: PyTorch's values for OpenAI's U-Net, and what must hold for any network.

use burn::tensor::{Device, Tensor, TensorData};
use lapidary::generator::editing::{EditStart, Editing, Known};
use lapidary::generator::sampler::Sampling;
use lapidary::generator::schedule::{karras_sigmas, time_step_sigmas};
use lapidary::generator::{
    Churn, EditInput, EditSettings, EditTask, GenerateError, GenerateSettings, Generator, Making, Mask, Plan,
    SamplerKind,
};
use lapidary::image::ImageBatch;
use lapidary::noise::{Purpose, normal_noise};
use lapidary::zoo::PreconditioningName;

use crate::close::assert_close;
use crate::{CASES, Case, NET, SAMPLER, read, sample};

/// Values per picture of both networks.
const LEN: usize = 3 * 32 * 32;

/// The twelve levels of the reference's samplers.
fn twelve(case: &Case, sampler: SamplerKind) -> Plan {
    Plan { sampler, sigmas: karras_sigmas(case.diffusion(), 12), churn: Churn::NONE }
}

fn tensor(values: Vec<f32>) -> Tensor<4> {
    let n = values.len() / LEN;
    Tensor::from_data(TensorData::new(values, [n, 3, 32, 32]), &Device::flex())
}

/// The reference's pictures, in `[0, 1]`.
fn pictures(case: &Case) -> ImageBatch {
    let image = case.golden.images("edit.image");
    ImageBatch::new(image.shape(), image.pixels().iter().map(|value| (value + 1.0) * 0.5).collect())
}

fn no_noise(step: u32) -> Vec<f32> {
    panic!("no noise is drawn here, but that of step {step} was asked for")
}

fn denoised(generator: &Generator, x: Vec<f32>, sigma: f64, labels: &[usize]) -> Vec<f32> {
    read(generator.denoise(tensor(x), &vec![sigma; labels.len()], labels).clamp(-1.0, 1.0))
}

/// `x + scale * noise`.
fn noised(x: &[f32], scale: f64, noise: &[f32]) -> Vec<f32> {
    x.iter().zip(noise).map(|(x, noise)| (f64::from(*x) + scale * f64::from(*noise)) as f32).collect()
}

#[test]
fn samplers_without_noise_make_the_reference_pictures() {
    for name in CASES {
        let case = Case::open(name, PreconditioningName::Edm);
        for (key, sampler) in [("sample.euler12", SamplerKind::Euler), ("sample.dpm12", SamplerKind::Dpm)] {
            let plan = twelve(&case, sampler);
            let noise = case.unit_noise(plan.sigmas[0]);
            let found = sample(&case.generator(), noise, &case.labels(), plan, no_noise);
            assert_close(&format!("{name}: {key}"), &found, case.golden.values(key), SAMPLER, 0.0);
        }
    }
}

#[test]
fn ancestral_sampling_makes_the_reference_pictures_of_given_noise() {
    for name in CASES {
        let case = Case::open(name, PreconditioningName::Edm);
        let plan = twelve(&case, SamplerKind::Ancestral);
        let noise = case.unit_noise(plan.sigmas[0]);
        let draw = |step: u32| case.golden.values(&format!("sample.ancestral12.noise{}", step - 1)).to_vec();
        let found = sample(&case.generator(), noise, &case.labels(), plan, draw);
        assert_close(name, &found, case.golden.values("sample.ancestral12"), SAMPLER, 0.0);
    }
}

#[test]
fn churn_raises_the_level_of_the_steps_in_its_range() {
    let case = Case::open(CASES[0], PreconditioningName::Edm);
    let (generator, labels) = (case.generator(), case.labels());
    let churn = Churn { amount: 3.0, min: 0.05, max: 50.0, noise: 1.003 };
    for sampler in [SamplerKind::Heun, SamplerKind::Dpm] {
        let plan = Plan { churn, ..twelve(&case, sampler) };
        let inside = |step: &u32| (0.05..=50.0).contains(&plan.sigmas[*step as usize - 1]);
        let expected: Vec<u32> = (1..=12).filter(inside).collect();
        let mut asked = Vec::new();
        let draw = |step| {
            asked.push(step);
            normal_noise(&[0, 1, 2], Purpose::Sampling(step), LEN)
        };
        let noise = case.unit_noise(plan.sigmas[0]);
        sample(&generator, noise, &labels, plan.clone(), draw);
        assert_eq!(asked, expected, "{sampler:?}");
    }

    // From sigma to 0, Heun's step is Euler's, which ends at the denoised picture of the raised level.
    let (sigma, raised) = (2.0, 2.0 * std::f64::consts::SQRT_2);
    let plan = Plan { sampler: SamplerKind::Heun, sigmas: vec![sigma, 0.0], churn };
    let noise = case.unit_noise(80.0);
    let draw = normal_noise(&[0, 1, 2], Purpose::Sampling(1), LEN);
    let found = sample(&generator, noise.clone(), &labels, plan, |_| draw.clone());
    let start: Vec<f32> = noise.iter().map(|value| value * sigma as f32).collect();
    let x = noised(&start, 1.003 * (raised * raised - sigma * sigma).sqrt(), &draw);
    assert_close("one step", &found, &denoised(&generator, x, raised, &labels), NET, 0.0);
}

#[test]
fn no_churn_is_no_churn_whatever_its_range() {
    let case = Case::open(CASES[1], PreconditioningName::Edm);
    let make = |churn| {
        let plan = Plan { churn, ..twelve(&case, SamplerKind::Dpm) };
        sample(&case.generator(), case.unit_noise(80.0), &case.labels(), plan, no_noise)
    };
    assert_eq!(make(Churn { amount: 0.0, min: 0.05, max: 50.0, noise: 1.003 }), make(Churn::NONE));
}

#[test]
fn a_seed_makes_the_same_picture_in_every_batch() {
    let case = Case::open(CASES[0], PreconditioningName::Consistency);
    let generator = case.generator();
    for (sampler, churn) in [(SamplerKind::Multistep, 0.0), (SamplerKind::Ancestral, 0.0), (SamplerKind::Heun, 4.0)] {
        let settings = GenerateSettings { sampler, churn, steps: 3, ..Default::default() };
        let plan = Plan::new(&settings, case.diffusion()).unwrap();
        let make = |seeds: &[u64], labels: &[usize]| {
            finish(Making::sample(&generator, seeds, labels, &plan, &Device::flex()), &generator).pixels().to_vec()
        };
        let three = make(&[16, 17, 18], &[1, 2, 3]);
        assert_close(&format!("{sampler:?}"), &make(&[17], &[2]), &three[LEN..2 * LEN], SAMPLER, 0.0);
        let mut making = Making::sample(&generator, &[1], &[0], &plan, &Device::flex());
        let ends: Vec<bool> = (0..3).map(|_| making.step(&generator)).collect();
        assert_eq!(
            (making.steps(), ends),
            (3, vec![false, false, true]),
            "a step is a step, however many calls it needs"
        );
    }
}

#[test]
fn a_discrete_model_predicts_the_noise() {
    let case = Case::open(CASES[0], PreconditioningName::Discrete);
    let labels = case.labels();
    let x = noised(case.golden.values("edit.image"), 0.5, case.golden.values("edit.iterative_superres.noise0"));
    let found = read(case.generator().denoise(tensor(x.clone()), &[0.5; 3], &labels));
    // Step 144 of the linear schedule is the nearest to 0.5.
    let scaled = tensor(x.clone()) * (1.0 / 1.25_f64.sqrt());
    let predicted = read(case.unet().forward(scaled, &[144.0; 3], Some(&labels)));
    assert_close("denoised", &found, &noised(&x, -0.5, &predicted), NET, 0.0);
}

/// The two tasks of the reference: its name and what is known.
const EDITS: [(&str, Known); 2] =
    [("edit.iterative_superres", Known::PatchMeans(8)), ("edit.iterative_colorization", Known::Luminance)];

#[test]
fn editing_makes_the_reference_pictures() {
    for name in CASES {
        let case = Case::open(name, PreconditioningName::Consistency);
        let (generator, reference) = (case.generator(), pictures(&case));
        let sigmas = time_step_sigmas(case.diffusion(), &"0,8,16,24,39/40".parse().unwrap());
        for (key, known) in EDITS {
            let open = |start| {
                let (labels, sigmas) = (case.labels(), sigmas.clone());
                Editing::new(&generator, known.clone(), &reference, labels, start, sigmas, &Device::flex()).unwrap()
            };
            let silent = open(EditStart::Noise(vec![0.0; 3 * LEN]));
            let measured = read(silent.state().clone());
            assert_close(&format!("{name}: {key}.known"), &measured, golden(&case, key, "known"), NET, 0.0);

            let mut editing = open(EditStart::State(case.golden.values("edit.x_T").to_vec()));
            let mut draw = |step: u32| golden(&case, key, &format!("noise{}", step - 1)).to_vec();
            while !editing.step(&generator, &mut draw) {}
            let found = read(editing.state().clone());
            assert_close(&format!("{name}: {key}.out"), &found, golden(&case, key, "out"), SAMPLER, 0.0);
        }
    }
}

fn golden<'a>(case: &'a Case, key: &str, what: &str) -> &'a [f32] {
    case.golden.values(&format!("{key}.{what}"))
}

/// What `settings` make of the reference's pictures with the seeds 16, 17 and 18, or of some of them.
fn edited(case: &Case, settings: &EditSettings, mask: Option<&Mask>, part: std::ops::Range<usize>) -> Vec<f32> {
    let (seeds, labels) = ([16, 17, 18], [1, 2, 3].map(|label| label.min(case.manifest.classes.len().max(1) - 1)));
    let (reference, plan) = (pictures(case), Plan::multistep(vec![80.0, 1.2]));
    let input = EditInput {
        reference: Some(&reference),
        mask,
        seeds: &seeds[part.clone()],
        labels: &labels[part.clone()],
        first: part.start,
        total: 3,
    };
    let generator = case.generator();
    let making = Making::edit(&generator, input, settings, &plan, &Device::flex()).expect("they fit");
    finish(making, &generator).pixels().to_vec()
}

/// What comes of it when nobody stops it.
fn finish(mut making: Making, generator: &Generator) -> ImageBatch {
    while !making.step(generator) {}
    making.images().expect("the CPU does not fail")
}

fn few_steps(task: EditTask) -> EditSettings {
    EditSettings { task, ts: "0,8,24,39/40".parse().ok(), patch: 4, add_noise: true, ..Default::default() }
}

/// The upper left quarter of a mask that is half as large as the pictures.
fn quarter() -> Mask {
    Mask::new(16, 16, (0..256).map(|i| i % 16 < 8 && i / 16 < 8).collect()).expect("256 pixels")
}

#[test]
fn inpainting_keeps_known_pixels_bit_by_bit() {
    let case = Case::open(CASES[1], PreconditioningName::Consistency);
    let found = edited(&case, &few_steps(EditTask::Inpaint), Some(&quarter()), 0..3);
    let reference = pictures(&case);
    let missing = |i: usize| i % 32 < 16 && i / 32 % 32 < 16;
    let kept = |i: &usize| found[*i].to_bits() == reference.pixels()[*i].to_bits();
    assert!((0..3 * LEN).filter(|i| !missing(*i)).all(|i| kept(&i)), "known pixels stay");
    let changed = (0..3 * LEN).filter(|i| missing(*i) && !kept(i)).count();
    assert!(changed > 3 * LEN / 4 * 9 / 10, "missing pixels are generated: {changed}");
}

#[test]
fn inpainting_starts_from_black_where_pixels_are_missing() {
    let case = Case::open(CASES[1], PreconditioningName::Consistency);
    let (generator, reference) = (case.generator(), pictures(&case));
    let start = EditStart::Noise(vec![0.0; 3 * LEN]);
    let known = Known::Pixels(quarter());
    let editing =
        Editing::new(&generator, known, &reference, case.labels(), start, vec![80.0], &Device::flex()).unwrap();
    let expected = case.golden.values("edit.image").iter().enumerate();
    let expected: Vec<f32> =
        expected.map(|(i, value)| if i % 32 < 16 && i / 32 % 32 < 16 { -1.0 } else { *value }).collect();
    assert_close("start", &read(editing.state().clone()), &expected, 1e-6, 0.0);
}

#[test]
fn measurements_survive_to_the_end() {
    for name in CASES {
        let case = Case::open(name, PreconditioningName::Consistency);
        let (generator, reference) = (case.generator(), pictures(&case));
        let y = case.golden.values("edit.image");
        let end = |known: Known| {
            let start = EditStart::Noise(normal_noise(&[1, 2, 3], Purpose::Sampling(0), LEN));
            let (labels, sigmas) = (case.labels(), vec![80.0, 5.0, 0.5]);
            let mut editing =
                Editing::new(&generator, known, &reference, labels, start, sigmas, &Device::flex()).unwrap();
            let mut draw = |step| normal_noise(&[1, 2, 3], Purpose::Sampling(step), LEN);
            while !editing.step(&generator, &mut draw) {}
            read(editing.state().clone())
        };
        let means = |of: &[f32]| -> Vec<f32> {
            let mut sums = vec![0.0; of.len() / 16];
            for (i, value) in of.iter().enumerate() {
                sums[i / 128 * 8 + i % 32 / 4] += value / 16.0;
            }
            sums
        };
        assert_close(&format!("{name}: means"), &means(&end(Known::PatchMeans(4))), &means(y), 1e-5, 0.0);
        let luminance = |of: &[f32]| -> Vec<f32> {
            let at = |i: usize| 0.2989 * of[i] + 0.5870 * of[i + 1024] + 0.1140 * of[i + 2048];
            (0..3).flat_map(|n| (0..1024).map(move |i| n * LEN + i)).map(at).collect()
        };
        assert_close(&format!("{name}: luminance"), &luminance(&end(Known::Luminance)), &luminance(y), 1e-5, 0.0);
    }
}

#[test]
fn strokes_and_noisy_pictures_become_what_the_formulas_say() {
    let case = Case::open(CASES[0], PreconditioningName::Consistency);
    let generator = case.generator();
    let y = case.golden.values("edit.image").to_vec();
    let [first, second] = [0, 1].map(|step| normal_noise(&[16, 17, 18], Purpose::Sampling(step), LEN));
    let call = |x: Vec<f32>, sigma: f64| denoised(&generator, x, sigma, &[1, 2, 3]);
    let compare = |name: &str, settings: EditSettings, expected: Vec<f32>| {
        let found: Vec<f32> = edited(&case, &settings, None, 0..3).iter().map(|value| 2.0 * value - 1.0).collect();
        assert_close(name, &found, &expected, SAMPLER, 0.0);
    };

    let once = call(noised(&y, 5.38, &first), 5.38);
    let between = (2.24_f64 * 2.24 - 0.002 * 0.002).sqrt();
    compare("stroke", few_steps(EditTask::Stroke), call(noised(&once, between, &second), 2.24));
    compare("noise added", few_steps(EditTask::Denoise), call(noised(&y, 0.5, &first), 0.5));
    let noisy = EditSettings { add_noise: false, ..few_steps(EditTask::Denoise) };
    compare("already noisy", noisy, call(y.clone(), 0.5));
}

#[test]
fn an_interpolation_begins_and_ends_with_the_pictures_of_its_seeds() {
    let case = Case::open(CASES[1], PreconditioningName::Consistency);
    let settings = EditSettings { seed_from: 5, seed_to: 9, ..few_steps(EditTask::Interpolate) };
    let frames = edited(&case, &settings, None, 0..3);
    let plan = Plan::multistep(vec![80.0, 1.2]);
    let own = finish(Making::sample(&case.generator(), &[5, 9], &[0; 2], &plan, &Device::flex()), &case.generator());
    assert_close("first", &frames[..LEN], own.sample(0), SAMPLER, 0.0);
    assert_close("last", &frames[2 * LEN..], own.sample(1), SAMPLER, 0.0);
}

#[test]
fn pictures_edited_in_parts_are_those_edited_together() {
    let case = Case::open(CASES[0], PreconditioningName::Consistency);
    for task in [EditTask::Inpaint, EditTask::Stroke, EditTask::Interpolate] {
        let mask = quarter();
        let make = |part| edited(&case, &few_steps(task), Some(&mask), part);
        assert_close(&format!("{task:?}"), &make(1..2), &make(0..3)[LEN..2 * LEN], SAMPLER, 0.0);
    }
}

#[test]
fn edits_that_cannot_be_are_refused_in_one_sentence() {
    let case = Case::open(CASES[1], PreconditioningName::Consistency);
    let generator = case.generator();
    let refused = |reference: Option<&ImageBatch>, settings: &EditSettings| -> GenerateError {
        let input = EditInput { reference, mask: None, seeds: &[1], labels: &[0], first: 0, total: 1 };
        let plan = Plan::one_step(case.diffusion());
        Making::edit(&generator, input, settings, &plan, &Device::flex()).unwrap_err()
    };
    let (good, small) = (pictures(&case), ImageBatch::new([1, 3, 16, 8], vec![0.5; 384]));
    assert!(refused(None, &few_steps(EditTask::Stroke)).to_string().contains("no picture"));
    assert!(refused(Some(&good), &few_steps(EditTask::Inpaint)).to_string().contains("needs a mask"));
    let message = refused(Some(&small), &few_steps(EditTask::Stroke)).to_string();
    assert!(message.contains("8 x 16 with 3 channels") && message.contains("32 x 32 with 3 channels"), "{message}");
    let patch = EditSettings { patch: 5, ..few_steps(EditTask::SuperResolution) };
    assert!(refused(Some(&good), &patch).to_string().contains("patches of 5 x 5"));
}

#[test]
fn a_sampling_can_be_watched_between_its_steps() {
    let case = Case::open(CASES[1], PreconditioningName::Consistency);
    let generator = case.generator();
    let plan = Plan::multistep(vec![80.0, 1.2]);
    let mut sampling = Sampling::new(&generator, case.unit_noise(80.0), case.labels(), plan, &Device::flex());
    assert_eq!(sampling.steps(), 2);
    let draw = normal_noise(&[0, 1, 2], Purpose::Sampling(1), LEN);
    assert!(!sampling.step(&generator, &mut |_| draw.clone()));
    let once = read(sampling.state().clone());
    assert!(sampling.step(&generator, &mut no_noise));
    let expected = denoised(&generator, once, 1.2, &case.labels());
    assert_close("second step", &read(sampling.state().clone()), &expected, NET, 0.0);
}
