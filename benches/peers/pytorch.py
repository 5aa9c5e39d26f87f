"""The PyTorch side of measure.py: reads one question a line, a JSON object, and answers each with another.

    {"load": "generator" or "classifier", "net": "DEMO", "file": "...", "mode": "eager" | "channels_last" | "compile"}
    {"generate": BATCH}             the second of two calls
    {"iterate": BATCH, "count": N}  the median iteration on the pictures that were made
    {"train": BATCH, "role": "generator" or "classifier", "net": "DEMO", "mode": "...", "count": N}
                                    the median training step: forwards, backwards, every parameter's gradient
    {"memory": true}                the most so far
"""

import json
import resource
import statistics
import sys
import time

import torch

import networks

RADIUS, STEP = 3.0, 0.3
DEVICE = torch.device("cpu")


def clock():
    """Seconds, with everything done that was asked of a GPU."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def load(role, name, file, mode):
    config = getattr(networks, name)
    net = networks.Unet(**config) if role == "generator" else networks.Resnet(**config)
    start = clock()
    if file.endswith(".safetensors"):
        from safetensors.torch import load_file

        weights = load_file(file)
    else:
        weights = torch.load(file, weights_only=True)
    net.load_state_dict(weights)
    seconds = clock() - start
    net = net.eval().requires_grad_(False).to(DEVICE)
    net = networks.Denoiser(net) if role == "generator" else networks.folded(net)
    if mode != "eager":
        net = net.to(memory_format=torch.channels_last)
    if mode == "compile":
        from torch._inductor import config as inductor

        inductor.freezing = role == "generator"
        net = torch.compile(net)
    return net, config["classes"], seconds


class Peer:
    def __init__(self):
        self.nets, self.classes, self.mode, self.pictures = {}, {}, "eager", None

    def laid_out(self, x):
        x = x.to(DEVICE)
        return x if self.mode == "eager" else x.contiguous(memory_format=torch.channels_last)

    def load(self, role, net, file, mode):
        self.mode = mode
        self.nets[role], self.classes[role], seconds = load(role, net, file, mode)
        self.size = 32 if net == "DEMO" else 64 if role == "generator" else self.size
        return {"read_s": seconds}

    def generate(self, batch):
        labels = (torch.arange(batch) % self.classes["generator"]).to(DEVICE)
        for _ in range(2):
            start = clock()
            with torch.inference_mode():
                noise = self.laid_out(torch.randn(batch, 3, self.size, self.size))
                pictures = self.nets["generator"](noise, labels)
            seconds = clock() - start
        self.pictures = pictures.clone()
        return {"generate_s": seconds}

    def iterate(self, batch, count):
        net, labels = self.nets["classifier"], (torch.arange(batch) % self.classes["classifier"]).to(DEVICE)
        origin = self.laid_out(self.pictures[:batch].clone())
        iterate, took = origin, []
        for k in range(count + 2):
            start = clock()
            leaf = iterate.detach().requires_grad_(True)
            logits = net(leaf).gather(1, labels[:, None]).sum()
            (gradient,) = torch.autograd.grad(logits, leaf)
            flat = lambda x: x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            delta = iterate + STEP * gradient / (flat(gradient) + 1e-10) - origin
            iterate = (origin + delta * (RADIUS / flat(delta).clamp(min=1e-12)).clamp(max=1.0)).clamp(0, 1)
            took.append(clock() - start)
        # The first evaluations warm caches.
        return {"iteration_s": statistics.median(took[2:])}

    def train(self, role, net, mode, batch, count):
        torch.manual_seed(0)
        self.mode, config = mode, getattr(networks, net)
        net = (networks.Unet(**config) if role == "generator" else networks.Resnet(**config)).train().to(DEVICE)
        if mode != "eager":
            net = net.to(memory_format=torch.channels_last)
        net = torch.compile(net) if mode == "compile" else net
        times = torch.full([batch], 0.5, device=DEVICE)
        labels = (torch.arange(batch) % config["classes"]).to(DEVICE)
        pictures = torch.rand(batch, 3, 32, 32) * 2 - 1
        took = []
        for _ in range(count + 1):
            leaf = self.laid_out(pictures.clone()).requires_grad_(True)
            start = clock()
            made = net(leaf, times, labels) if role == "generator" else net(leaf)
            made.square().mean().backward()
            took.append(clock() - start)
            net.zero_grad(set_to_none=True)
        return {"step_s": statistics.median(took[1:])}

    def memory(self):
        if DEVICE.type == "cuda":
            return {"peak_mib": torch.cuda.max_memory_allocated() / 2**20}
        return {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main():
    global DEVICE
    torch.set_num_threads(int(sys.argv[1]))
    DEVICE = torch.device(sys.argv[2] if len(sys.argv) > 2 else "cpu")
    peer = Peer()
    ready = {"torch": torch.__version__, "threads": torch.get_num_threads(), **peer.memory()}
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "load" in asked:
            answer = peer.load(asked["load"], asked["net"], asked["file"], asked["mode"])
        elif "generate" in asked:
            answer = peer.generate(asked["generate"])
        elif "iterate" in asked:
            answer = peer.iterate(asked["iterate"], asked["count"])
        elif "train" in asked:
            which = [asked[name] for name in ("role", "net", "mode", "train", "count")]
            answer = peer.train(*which)
        else:
            answer = peer.memory()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
