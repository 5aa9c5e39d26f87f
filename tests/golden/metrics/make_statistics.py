"""Mean and covariance as other programs save them: see README.md. Needs numpy and safetensors only."""
import json

import numpy as np
from safetensors.numpy import load_file

real = load_file("features.safetensors")["real"].astype(np.float64)
mu, sigma = np.mean(real, axis=0), np.cov(real, rowvar=False)
# pytorch_fid.fid_score.save_fid_stats
np.savez_compressed("pytorch_fid.npz", mu=mu, sigma=sigma)
# guided-diffusion's VIRTUAL_*.npz: some pictures, and statistics of all in single precision, the spatial ones, too.
spatial = real[:, 3:8]
pictures = np.random.default_rng(5).integers(0, 256, size=(6, 4, 4, 3), dtype=np.uint8)
np.savez(
    "virtual.npz",
    arr_0=pictures,
    mu=mu.astype(np.float32),
    sigma=sigma.astype(np.float32),
    mu_s=np.mean(spatial, axis=0).astype(np.float32),
    sigma_s=np.cov(spatial, rowvar=False).astype(np.float32),
    mu_clip=np.zeros(3, np.float32),
    sigma_clip=np.eye(3, dtype=np.float32),
)
statistics = {
    "trace": float(np.trace(sigma)),
    "spatial_trace": float(np.trace(np.cov(spatial, rowvar=False))),
    "mean": float(mu.sum()),
}
with open("statistics.json", "w") as out:
    json.dump(statistics, out, indent=1)
    out.write("\n")
print(statistics)
