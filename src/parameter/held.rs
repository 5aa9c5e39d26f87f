//! How the fields of settings types hold values.

use std::num::NonZeroU32;

use super::{Choosable, Value};

/// A field that a [`Setting`](super::Setting) reads and writes.
pub trait Held {
    /// Its value.
    fn value(&self) -> Value;
    /// Takes a value; one of another kind changes nothing.
    fn take(&mut self, value: Value);
}

/// Fields that are numbers.
macro_rules! held_number {
    ($($number:ty, $to_f64:expr;)*) => {
        $(impl Held for $number {
            fn value(&self) -> Value {
                Value::Number($to_f64(*self))
            }

            fn take(&mut self, value: Value) {
                if let Value::Number(number) = value {
                    *self = number as $number;
                }
            }
        })*
    };
}
held_number!(f64, std::convert::identity; u32, f64::from; u64, |number| number as f64;);

impl Held for Option<u32> {
    fn value(&self) -> Value {
        self.map_or(Value::Open, |number| Value::Number(f64::from(number)))
    }

    fn take(&mut self, value: Value) {
        match value {
            Value::Number(number) => *self = Some(number as u32),
            Value::Open => *self = None,
            _ => {}
        }
    }
}

impl Held for Option<NonZeroU32> {
    fn value(&self) -> Value {
        self.map(NonZeroU32::get).value()
    }

    fn take(&mut self, value: Value) {
        let mut number = self.map(NonZeroU32::get);
        Held::take(&mut number, value);
        *self = number.and_then(NonZeroU32::new);
    }
}

impl Held for bool {
    fn value(&self) -> Value {
        Value::Switch(*self)
    }

    fn take(&mut self, value: Value) {
        if let Value::Switch(on) = value {
            *self = on;
        }
    }
}

impl Held for String {
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn take(&mut self, value: Value) {
        if let Value::Text(text) = value {
            *self = text;
        }
    }
}

impl<C: Choosable> Held for C {
    fn value(&self) -> Value {
        Value::Choice(self.option().key)
    }

    fn take(&mut self, value: Value) {
        if let Value::Choice(key) = value {
            *self = Self::from_key(key).unwrap_or(*self);
        }
    }
}
