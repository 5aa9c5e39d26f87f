//! What a network consists of when it is trained: one flat tensor for every parameter and statistic, in the order in which burn
//! walks over a module, their gradients, and the names that files give them.
//!
//! Whatever is done to all weights alike (optimisers, averages, copies) is arithmetic on such lists and knows no architecture.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};

/// The id of the tensor of that name, the same in every network; it is stored nowhere.
pub(super) fn id(name: &str) -> ParamId {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    ParamId::from(hasher.finish())
}

/// Names and shapes of a network's tensors, brought into the order of [`numbers`].
///
/// # Panics
/// When the network is folded, which leaves it without names, or consists of other tensors.
#[must_use]
pub fn named(net: &impl Module, tensors: Vec<(String, Vec<usize>)>) -> Vec<(String, Vec<usize>)> {
    struct Ids(Vec<ParamId>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.id);
        }
    }
    let mut ids = Ids(Vec::new());
    net.visit(&mut ids);
    let mut tensors: HashMap<ParamId, _> = tensors.into_iter().map(|tensor| (id(&tensor.0), tensor)).collect();
    ids.0.iter().map(|id| tensors.remove(id).expect("a tensor of the network's list")).collect()
}

/// The numbers of a network, outside of automatic differentiation.
#[must_use]
pub fn numbers(net: &impl Module) -> Vec<Tensor<1>> {
    struct Read(Vec<Tensor<1>>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(flat(param.val()));
        }
    }
    let mut read = Read(Vec::new());
    // Statistics that a batch has changed are brought up to date by this.
    net.valid().visit(&mut read);
    read.0
}

/// The network with other numbers, which has gradients where it had them.
///
/// # Panics
/// When the numbers are another network's.
#[must_use]
pub fn with_numbers<M: Module>(net: M, numbers: &[Tensor<1>]) -> M {
    struct Write<'a>(std::slice::Iter<'a, Tensor<1>>);
    impl ModuleMapper for Write<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let numbers = self.0.next().expect("one tensor for every parameter").clone();
            param.map(|old| {
                let new = numbers.reshape(old.dims());
                let new = if old.is_autodiff() { new.autodiff() } else { new };
                new.set_require_grad(old.is_require_grad())
            })
        }
    }
    let mut write = Write(numbers.iter());
    let net = net.map(&mut write);
    assert!(write.0.next().is_none(), "no more tensors than parameters");
    net
}

/// The gradient of every tensor of a network; statistics have none.
#[must_use]
pub fn gradients(net: &impl Module, gradients: &mut Gradients) -> Vec<Option<Tensor<1>>> {
    struct Take<'a>(&'a mut Gradients, Vec<Option<Tensor<1>>>);
    impl ModuleVisitor for Take<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            let gradient = if value.is_require_grad() { value.grad_remove(self.0) } else { None };
            self.1.push(gradient.map(flat));
        }
    }
    let mut take = Take(gradients, Vec::new());
    net.visit(&mut take);
    take.1
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count: usize = tensor.dims().iter().product();
    tensor.without_autodiff().reshape([count])
}
