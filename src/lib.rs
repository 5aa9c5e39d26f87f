//! Lapidary: a workbench in which a consistency model generates pictures and an adversarially trained joint
//! classifier-discriminator refines them by projected gradient iterations, live.
//!
//! # The flow
//! ```text
//! checkpoint -> net -> zoo -> generator -> image (samples, [0,1]) -> refiner (classifier + objective + constraint) -> trace
//!                                                                                                            |
//!                              worker (runs it on its own thread) -> session (remembers it) -> view, export, cli
//! ```
//!
//! # Reading order
//! The modules below are listed in the order of the flow; a line of code lives in the first that can hold it, and modules
//! use only what stands above them. `tests/layering.rs` keeps this true.
//!
//! | module | holds | does not know |
//! |---|---|---|
//! | [`error`], [`units`], [`mod@file`], [`signals`], [`noise`] | the chain of an error; amounts in words; what lies at a path; what asks the program to end; seeds to numbers | who uses them |
//! | [`parameter`] | one description per setting, which flags, help, sliders and tooltips are made from | who uses it |
//! | [`image`] | pictures on the host, `[N, C, H, W]`, `[0, 1]`; their levels, colours and differences | where they come from |
//! | [`checkpoint`] | the file door: files of tensors, opened by content, taken with every shape checked | networks, devices |
//! | [`net`] | one folder per architecture: modules that can be trained, folded and compiled for inference | value ranges, noise levels |
//! | [`zoo`] | what a file is (names, shapes, manifests) and where models are | devices |
//! | [`generator`] | preconditioning, schedules, samplers, editing, noise per sample seed | files, threads, clocks |
//! | [`classifier`] | normalisation, logits, energy; the extractor that sets of pictures are compared by | files, threads, clocks |
//! | [`refiner`] | objectives, update rules, targets, the ball; one iteration | files, threads, clocks |
//! | [`metrics`] | numbers about sets of pictures, from features: distances, shares, intervals; about pairs of pictures | networks, files, clocks |
//! | [`experiment`] | what the file of an experiment declares, and the table of what its cells gave | networks, files, clocks |
//! | [`data`] | pictures of other programs, batch by batch: files, folders, archives; what networks saw of them | tensors, the window |
//! | [`train`] | losses, schedules, attacks; one step of training | files, threads, clocks |
//! | [`origins`] | the pictures that a session is about, and where they came from | devices |
//! | [`trace`] | the tree of runs: numbers per state | pictures, devices |
//! | [`worker`] | the compute thread and its messages; the loop that window and command line share, of a training, too; the thread of the numbers beside a run | the window |
//! | [`session`] | the state the user owns: actions and events in, commands out; saving and opening | tensors, egui |
//! | [`export`] | PNG, npz, CSV; whose the folder of results is, and what is finished in it | the window |
//! | [`view`] | egui panels, the wgpu canvas | tensors |
//! | [`cli`] | flags and commands | egui |
//!
//! # Words
//! - **origin** x₀: the generated (or opened) picture, the centre of the ball for ever, also after a branch.
//! - **iterate** x_k: the picture after k iterations; k iterations have k+1 **states**.
//! - **radius** in the window is `eps` in code and files; **step size** is `step_size`.
//! - **objective**: what refinement ascends. **energy** E(x, y) = −f_y(x), where f_y is the logit of class y.
//! - **run**: iterations from the origin or from a state of another run, with settings of its own.
//! - **session**: everything the user would be sorry to lose.

pub mod error;

pub mod units;

pub mod file;

pub mod signals;

pub mod parameter;

pub mod image;

pub mod noise;

pub mod checkpoint;

pub mod net;

pub mod zoo;

pub mod generator;

pub mod classifier;

pub mod refiner;

pub mod metrics;

pub mod experiment;

pub mod data;

pub mod train;

pub mod origins;

pub mod trace;

pub mod worker;

pub mod session;

pub mod export;

pub mod view;

pub mod cli;
