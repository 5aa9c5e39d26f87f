//! A convolution of our own for networks whose weights change, and for those that no plan is made of: on the CPU one node
//! of automatic differentiation, whose gradients of pictures, weights and bias take as long as the convolution itself.
//!
//! Results are the same to the last bit for any number of threads and length of vectors, pictures' for any batch.

mod op;
#[cfg(test)]
mod tests;
mod weight;

pub(in crate::net) use self::op::conv2d;
