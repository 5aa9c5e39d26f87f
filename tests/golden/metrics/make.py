"""Numbers of two sets of features by the programs that papers use: see README.md."""
import json

import numpy as np
import torch
from cleanfid.fid import frechet_distance as cleanfid_distance
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.numpy import save_file
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

rng = np.random.default_rng(17)
mix = rng.normal(size=(12, 12)) / 4 + np.eye(12)
real = np.maximum(rng.normal(size=(90, 12)) @ mix + 0.4, 0).astype(np.float32)
samples = np.maximum(rng.normal(size=(70, 12)) @ (mix + 0.2 * rng.normal(size=(12, 12))) + 0.6, 0).astype(np.float32)
logits = (2 * rng.normal(size=(70, 5))).astype(np.float32)
save_file({"real": real, "samples": samples, "logits": logits}, "features.safetensors")

mean, covariance = [], []
for x in (real, samples):
    mean.append(np.mean(x.astype(np.float64), axis=0))
    covariance.append(np.cov(x.astype(np.float64), rowvar=False))
statistics = [{"mu": m, "sigma": s} for m, s in zip(mean, covariance)]
n = 70
kid = kid_features_to_metric(
    torch.tensor(real[:n]).double(), torch.tensor(samples).double(), kid_subsets=1, kid_subset_size=n, verbose=False
)
isc = isc_features_to_metric(torch.tensor(logits), 10, shuffle=False)
prc = prc_features_to_metric(
    torch.tensor(samples).double(), torch.tensor(real).double(), prc_neighborhood=3, prc_batch_size=1000, verbose=False
)
prdc = compute_prdc(real.astype(np.float64), samples.astype(np.float64), nearest_k=5)
values = {
    "frechet": {
        "pytorch-fid": float(calculate_frechet_distance(mean[0], covariance[0], mean[1], covariance[1])),
        "torch-fidelity": float(list(fid_statistics_to_metric(*statistics, verbose=False).values())[0]),
        "clean-fid": float(cleanfid_distance(mean[0], covariance[0], mean[1], covariance[1])),
    },
    "kernel": kid["kernel_inception_distance_mean"],
    "inception": [isc["inception_score_mean"], isc["inception_score_std"]],
    "precision": prc["precision"],
    "recall": prc["recall"],
    "density": float(prdc["density"]),
    "coverage": float(prdc["coverage"]),
}
with open("values.json", "w") as out:
    json.dump(values, out, indent=1)
    out.write("\n")
print(values)
