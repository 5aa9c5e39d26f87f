//! What can be wrong with the file of an experiment.

/// Why an experiment cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// No TOML, or keys that mean nothing.
    #[error("the file of the experiment cannot be understood: correct what is named")]
    Text(#[from] Box<toml::de::Error>),
    /// Nothing to compare.
    #[error("the experiment names no generator: begin one with [[generator]] and say there its `name` and its flags")]
    NoGenerator,
    /// Nothing is done with pictures that are opened.
    #[error(
        "the pictures of {name:?} are opened and nothing refines them: say a [[refinement]], or measure them with `lapidary evaluate`"
    )]
    NoRefinement {
        /// The generator's name.
        name: String,
    },
    /// No pictures are asked for.
    #[error(
        "{name:?} generates pictures, but the experiment has no seeds: say seeds = \"0..2400\" at the top of the file, or `input` at the generator"
    )]
    NoSeeds {
        /// The generator's name.
        name: String,
    },
    /// Two of one name.
    #[error(
        "two of the {what}s are called {name:?}: the table could not tell them apart, so name one of them otherwise"
    )]
    SameName {
        /// Generators or refinements.
        what: &'static str,
        /// Their name.
        name: String,
    },
    /// The name of what is not refined.
    #[error(
        "a refinement is called {name:?}, but what is not refined is called so already, and is measured by itself: leave it out, or name it otherwise"
    )]
    NameOfNone {
        /// Its name.
        name: String,
    },
    /// A name without letters.
    #[error("a {what} has the name {name:?}: a name needs at least one letter or digit")]
    NoName {
        /// Generator or refinement.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A value that no flag takes.
    #[error(
        "{flag} of {name:?} is {found}, but a flag takes a number, a word, true or false, or a list of these: correct it"
    )]
    Value {
        /// The generator's or the refinement's name.
        name: String,
        /// The flag.
        flag: String,
        /// What stands there.
        found: String,
    },
    /// A flag that the experiment sets itself.
    #[error("--{flag} stands at {name:?}, but the experiment sets it: {instead}")]
    Own {
        /// The generator's or the refinement's name.
        name: String,
        /// The flag.
        flag: String,
        /// What to do.
        instead: &'static str,
    },
    /// A list of values that is none.
    #[error("`each` of {name:?} gives {flag} no value: give it a list of at least one")]
    Each {
        /// The generator's or the refinement's name.
        name: String,
        /// The flag.
        flag: String,
    },
    /// A metric that is not known.
    #[error("{found:?} is no metric: choose among {known}")]
    Metric {
        /// What stands there.
        found: String,
        /// What is offered.
        known: String,
    },
    /// A published value of a cell that is not there.
    #[error(
        "the published value of {of:?} belongs to no cell: name a generator and a refinement of this file, or \"none\""
    )]
    Published {
        /// What it is said to belong to.
        of: String,
    },
}
