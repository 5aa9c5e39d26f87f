//! Experiments: generators and refinements that are compared by numbers, declared in a file.
//!
//! An [`Experiment`] says what is compared: every generator with every refinement is a [`Cell`], which is one command with
//! settings in the words of its flags. What a cell gave is a list of numbers, and all of them become one [`Table`] as papers
//! have it. Nothing here computes, and nothing but the file's text is read.

mod error;
mod file;
mod table;

pub use self::error::ExperimentError;
pub use self::file::{Cell, Experiment, Published, Variant};
pub use self::table::{Found, Table};
