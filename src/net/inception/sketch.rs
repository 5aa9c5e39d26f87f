//! The steps of the network for a plan: the same walk over [`arch`] that reads its weights.

use super::arch::{self, CHANNELS, Pool, SIDE, STEM};
use crate::net::plan::{Curve, Filter, Gather, Sketch, Value, Window};

/// Stride and padding of pools that keep the size, and of those that do not.
const SAME: [usize; 2] = [1, 1];
const HALVED: [usize; 2] = [2, 0];

/// The network for processors whose vectors have `lanes` numbers. `window` is asked for the convolutions in the order in which
/// the network reads them, by their names; `fc` is the last layer. Kept is the first branch of the block `spatial`.
pub(super) fn sketch(lanes: usize, spatial: &str, window: &mut dyn FnMut(&str) -> Window, fc: &Filter) -> Sketch {
    let mut sketch = Sketch::new(CHANNELS, [SIDE; 2], lanes).forwards_only();
    let mut x = 0;
    for (filter, halves) in STEM {
        x = sketch.window(x, &window(filter.name), Some(Curve::Relu));
        if halves {
            x = pooled(&mut sketch, x, Pool::Halve);
        }
    }
    for (name, branches) in arch::blocks() {
        let mut maps = Vec::new();
        for branch in &branches {
            let mut layer = |sketch: &mut Sketch, x: Value, filter: &arch::Filter| {
                sketch.window(x, &window(&format!("{name}.{}", filter.name)), Some(Curve::Relu))
            };
            let mut y = pooled(&mut sketch, x, branch.pool);
            for filter in &branch.layers {
                y = layer(&mut sketch, y, filter);
            }
            for filter in &branch.fork {
                maps.push(layer(&mut sketch, y, filter));
            }
            if branch.fork.is_empty() {
                maps.push(y);
            }
        }
        if name == spatial {
            sketch.keep(maps[0]);
        }
        x = sketch.joined(&maps);
    }
    x = sketch.mean(x);
    sketch.conv(x, fc, None, None);
    sketch
}

fn pooled(sketch: &mut Sketch, x: Value, pool: Pool) -> Value {
    match pool {
        Pool::None => x,
        Pool::Mean => sketch.pool(x, Gather::Mean, SAME),
        Pool::Max => sketch.pool(x, Gather::Max, SAME),
        Pool::Halve => sketch.pool(x, Gather::Max, HALVED),
    }
}
