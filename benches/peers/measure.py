"""Lapidary beside PyTorch on the CPU of this machine: the same networks, pictures, updates and threads, in turn.

    python measure.py make FOLDER                     the networks with random weights, 2 GB
    python measure.py gpu LAPIDARY FILE               the same networks on a GPU, once; see ../gpu.sh
    python measure.py run FOLDER LAPIDARY [options]   prints a table; --json FILE keeps every number

LAPIDARY is the program. With --training PROGRAM, the executable of `cargo bench --bench training`, a training step of the demo's
two networks is measured too. `run` needs torch and safetensors, and a C++ compiler for --compile. In every round each contestant does
everything once, in an order that changes; a ratio compares two contestants in the same round. Of ratios the median is told, and
the smallest and largest. Above 1, Lapidary is faster.
"""

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
OWN = ["lapidary", "burn"]
# On a GPU: through wgpu, and through CUDA.
ON_GPU = ["gpu", "cuda"]
TORCH_MODES = ["eager", "channels_last"]
# Name, generator, classifier, batches, iterations; files lie in FOLDER, or are bundled.
CASES = [
    ("demo", "DEMO", "DEMO_CLASSIFIER", "gtsrb12-cm", "gtsrb12-joint", [1, 16, 64], 10),
    ("ResNet-50", "TINY64", "RESNET50", "tiny64.safetensors", "resnet50.pt", [1, 8, 32], 5),
    ("Wide-ResNet-50-2", "TINY64", "WIDE_RESNET50_2", "tiny64.safetensors", "wide_resnet50_2.pt", [1, 8, 32], 3),
    ("ImageNet-64", "IMAGENET", "RESNET50", "cd_imagenet64_l2.pt", "resnet50.pt", [1, 4], 1),
]
# The demo's networks with random weights: forwards, backwards, every parameter's gradient.
TRAINED = [("U-Net", "generator", "DEMO"), ("ResNet", "classifier", "DEMO_CLASSIFIER")]
TRAINING, TRAINING_BATCHES, TRAINING_STEPS = "training", [16, 64], 5


def make(folder):
    import torch
    from safetensors.torch import save_file

    import networks

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(networks.Resnet(**networks.RESNET50).state_dict(), folder / "resnet50.pt")
    torch.save(networks.Resnet(**networks.WIDE_RESNET50_2).state_dict(), folder / "wide_resnet50_2.pt")
    torch.save(networks.Unet(**networks.IMAGENET).state_dict(), folder / "cd_imagenet64_l2.pt")
    save_file(networks.Unet(**networks.TINY64).state_dict(), folder / "tiny64.safetensors")
    tiny = networks.TINY64
    (folder / "tiny64.toml").write_text(
        "\n".join(
            [
                'name = "tiny64"',
                'title = "A small generator of 64x64"',
                'file = "tiny64.safetensors"',
                "resolution = 64",
                'classes = "imagenet"',
                'source = "random weights"',
                'licence = "none"',
                'kind = "generator"',
                "[unet]",
                f"model_channels = {tiny['base']}",
                f"num_res_blocks = {tiny['blocks']}",
                f"channel_mult = {list(tiny['mult'])}",
                "attention_downsample = []",
                f"num_head_channels = {tiny['head']}",
                f"patch_size = {tiny['patch']}",
                "[diffusion]",
                'preconditioning = "consistency"',
            ]
        )
        + "\n"
    )


class Torch:
    """A PyTorch process that holds one case's networks."""

    def __init__(self, threads, device="cpu"):
        command = [sys.executable, str(HERE / "pytorch.py"), str(threads), device]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = json.loads(self.process.stdout.readline())

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def torch_round(case, mode, files, threads, device):
    _, generator, classifier, _, _, batches, count = case
    peer = Torch(threads, device)
    found = {"start_mib": peer.facts["peak_mib"], "torch": peer.facts["torch"]}
    found["read_generator_s"] = peer.ask(load="generator", net=generator, file=files[0], mode=mode)["read_s"]
    found["read_classifier_s"] = peer.ask(load="classifier", net=classifier, file=files[1], mode=mode)["read_s"]
    for batch in batches:
        found[f"generate {batch}"] = peer.ask(generate=batch)["generate_s"]
        found[f"iterate {batch}"] = peer.ask(iterate=batch, count=count)["iteration_s"]
    found["peak_mib"] = peer.ask(memory=True)["peak_mib"]
    peer.close()
    return found


def own_environment(kernels, threads):
    """For a process of ours: burn's operations or our own, on so many threads."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    environment.pop("LAPIDARY_KERNELS", None)
    return {**environment, "LAPIDARY_KERNELS": kernels} if kernels else environment


def lapidary_round(case, device, kernels, models, program, threads):
    batches, count, environment = case[5], case[6], own_environment(kernels, threads)
    command = [program, "bench", "--device", device, "--generator", models[0], "--classifier", models[1]]
    command += ["--batches", ",".join(map(str, batches)), "--iterations", str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    told = json.loads(done.stdout)
    found = {"start_mib": told["start_mib"], "peak_mib": told["peak_memory_mib"], "device": told["device"]}
    found["read_generator_s"] = told["generator"]["read_s"]
    found["read_classifier_s"] = told["classifier"]["read_s"]
    for batch in told["batches"]:
        found[f"generate {batch['batch']}"] = batch["generate_s"]
        found[f"iterate {batch['batch']}"] = batch["iteration_s"]
    return found


def torch_training(mode, threads):
    peer, found = Torch(threads), {}
    for name, role, net in TRAINED:
        for batch in TRAINING_BATCHES:
            asked = {"train": batch, "role": role, "net": net, "mode": mode, "count": TRAINING_STEPS}
            found[f"{name} step {batch}"] = peer.ask(**asked)["step_s"]
    found["peak_mib"] = peer.ask(memory=True)["peak_mib"]
    peer.close()
    return found


# As `lapidary train` begins itself anew.
TRAINING_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 34), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


def lapidary_training(kernels, program, threads):
    environment = {**own_environment(kernels, threads), **TRAINING_MEMORY}
    child = subprocess.Popen([program, "child"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found = {}
    for number, (name, _, _) in enumerate(TRAINED):
        for batch in TRAINING_BATCHES:
            took = []
            for _ in range(TRAINING_STEPS + 1):
                child.stdin.write(f"{number} {batch}\n")
                child.stdin.flush()
                took.append(float(child.stdout.readline().split()[0]))
            found[f"{name} step {batch}"] = statistics.median(took[1:])
    status = Path(f"/proc/{child.pid}/status")
    if status.exists():
        found["peak_mib"] = int(status.read_text().split("VmHWM:", 1)[1].split()[0]) / 1024
    child.stdin.close()
    child.wait()
    return found


def files_of(case, folder, bundled):
    """The case's files for Lapidary, and for PyTorch."""
    names = case[3:5]
    theirs = [str(bundled / f"{name}.safetensors") if "." not in name else str(folder / name) for name in names]
    ours = [name if "." not in name else str(folder / name) for name in names]
    return ours, theirs


def processor():
    text = Path("/proc/cpuinfo").read_text()
    flags = text.split("flags", 1)[1].split("\n", 1)[0].split() if "flags" in text else []
    name = text.split("model name", 1)[1].split("\n", 1)[0].strip(": \t") if "model name" in text else "?"
    return name, [flag for flag in ["avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "asimd"] if flag in flags]


def once(who, case, arguments):
    """Everything of a case by one contestant."""
    own, kernels, threads = who in OWN + ON_GPU, "burn" if who == "burn" else None, arguments.threads
    if case[0] == TRAINING:
        return lapidary_training(kernels, arguments.training, threads) if own else torch_training(who, threads)
    ours, theirs = files_of(case, arguments.folder, arguments.models)
    if own:
        return lapidary_round(case, who if who in ON_GPU else "cpu", kernels, ours, arguments.program, threads)
    return torch_round(case, who, theirs, threads, "cuda" if arguments.gpu else "cpu")


def run(arguments):
    modes = TORCH_MODES + (["compile"] if arguments.compile else [])
    contestants = [*OWN, *modes]
    kept = {"processor": processor(), "threads": arguments.threads, "cases": {}}
    print(f"{kept['processor'][0]} ({' '.join(kept['processor'][1])}), {arguments.threads} threads")
    cases = CASES + ([(TRAINING,)] if arguments.training else [])
    for case in cases:
        name = case[0]
        if arguments.cases and name not in arguments.cases:
            continue
        rounds = []
        for number in range(arguments.rounds):
            order = contestants[:]
            random.Random(number).shuffle(order)
            this = {}
            for who in order:
                this[who] = once(who, case, arguments)
                print(f"  {name}, round {number + 1}: {who}", file=sys.stderr)
            rounds.append(this)
        kept["cases"][name] = rounds
        table(name, rounds, ["burn", *modes])
        if arguments.json:
            arguments.json.write_text(json.dumps(kept, indent=1))


def gpu(arguments):
    """Everything once on a GPU; what fails or is too late is written down as such, and the file is whole at any time."""
    until = time.monotonic() + 60 * arguments.minutes
    torch = importlib.util.find_spec("torch") is not None
    kept = {"processor": processor(), "gpu": gpus(), "cases": {}}
    with tempfile.TemporaryDirectory() as folder:
        arguments.folder, arguments.gpu = Path(folder), True
        if torch:
            make(arguments.folder)
        for case in CASES if torch else CASES[:1]:
            kept["cases"][case[0]] = found = {}
            for who in ON_GPU + (TORCH_MODES if torch else []):
                try:
                    late = time.monotonic() > until
                    found[who] = {"left out": "no time"} if late else once(who, case, arguments)
                except SystemExit as failure:
                    found[who] = {"failed": str(failure)}
                except (json.JSONDecodeError, OSError):
                    found[who] = {"failed": "PyTorch ended; what it said stands above"}
                print(f"  {case[0]}: {who}", file=sys.stderr)
                arguments.json.write_text(json.dumps(kept, indent=1))


def gpus():
    """What NVIDIA's driver says."""
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True).stdout.strip().splitlines()
    except OSError:
        return []


def table(name, rounds, others):
    print(f"\n{name:<22}{'lapidary':>12}" + "".join(f"{other + ' / lapidary':>32}" for other in others))
    for measure in rounds[0]["lapidary"]:
        if measure not in rounds[0][others[-1]]:
            continue
        unit, scale = ("MiB", 1) if measure.endswith("mib") else ("s", 1) if measure.endswith("_s") else ("ms", 1e3)
        own = statistics.median(r["lapidary"][measure] for r in rounds) * scale
        line = f"{measure:<22}{own:>9.4g} {unit:<3}"
        for other in others:
            ratios = sorted(r[other][measure] / r["lapidary"][measure] for r in rounds)
            line += f"{statistics.median(ratios):>14.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})".rjust(32)
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.set_defaults(do=lambda arguments: make(arguments.folder))
    running = commands.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("program")
    running.add_argument("--models", type=Path, default=HERE.parent.parent / "models", help="where the demo's networks lie")
    running.add_argument("--rounds", type=int, default=5)
    running.add_argument("--threads", type=int, default=os.cpu_count())
    running.add_argument("--cases", nargs="*", help=", ".join([*(case[0] for case in CASES), TRAINING]))
    running.add_argument("--training", metavar="PROGRAM", help="the executable of the benchmark `training`")
    running.add_argument("--compile", action="store_true", help="torch.compile too, which takes minutes")
    running.add_argument("--json", type=Path)
    running.set_defaults(do=run, gpu=False)
    on_gpu = commands.add_parser("gpu")
    on_gpu.add_argument("program")
    on_gpu.add_argument("json", type=Path)
    on_gpu.add_argument("--models", type=Path, default=HERE.parent.parent / "models")
    on_gpu.add_argument("--minutes", type=float, default=7, help="when nothing more is begun")
    on_gpu.set_defaults(do=gpu, threads=os.cpu_count())
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
