//! Where the values of the tensors of a PyTorch zip lie, found in its pickle.
//!
//! The reader of PyTorch's files tells names and shapes, but no places. This follows the operations by which `torch.save` writes
//! dictionaries of tensors, and nothing else: it gives up at any other, and what it does not understand has no place here.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::pickle::operations;

/// How deep dictionaries may lie in each other.
const DEEPEST: usize = 32;
const ORDERED: &[u8] = b"collections\nOrderedDict\n";
const FLOATS: &[u8] = b"torch\nFloatStorage\n";
const TENSOR: &[u8] = b"torch._utils\n_rebuild_tensor_v2\n";
const PARAMETER: &[u8] = b"torch._utils\n_rebuild_parameter\n";

/// Where the `f32` values of a tensor lie one behind the other, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Name of the storage in the archive, behind `data/`.
    pub(super) storage: String,
    /// Elements of the storage that stand before it.
    pub(super) first: usize,
    pub(super) shape: Vec<usize>,
}

/// The places of the tensors of a pickle, by their names; those of nested dictionaries are joined by dots.
///
/// Tensors of other types than `f32`, views that are not contiguous, and whatever has two values under one name are left out.
/// `None` where the pickle is written in a way that `torch.save` does not write dictionaries of tensors.
pub(super) fn places(pickle: &[u8]) -> Option<BTreeMap<String, Place>> {
    let mut machine = Machine::default();
    for operation in operations(pickle)? {
        if operation == b"." {
            break;
        }
        machine.follow(operation)?;
    }
    let Value::Dictionary(root) = machine.stack.pop()? else { return None };
    let mut found = BTreeMap::new();
    gather(&root, &mut Vec::new(), &mut found);
    Some(found.into_iter().filter_map(|(name, place)| Some((name, place?))).collect())
}

/// Collects what lies in a dictionary, `None` under a name that comes twice.
fn gather<'a>(dictionary: &'a Dictionary<'_>, path: &mut Vec<&'a str>, found: &mut BTreeMap<String, Option<Place>>) {
    for (name, value) in &dictionary.entries {
        path.push(name);
        match value {
            Value::Dictionary(inner) => gather(inner, path, found),
            Value::Tensor(place) => {
                let once = |place: &mut Option<Place>| *place = None;
                found.entry(path.join(".")).and_modify(once).or_insert_with(|| Some(place.as_ref().clone()));
            }
            _ => {}
        }
        path.pop();
    }
}

/// What a pickle builds, as far as it matters here.
enum Value<'a> {
    Text(&'a str),
    Number(usize),
    /// Module and name, each with the end of its line.
    Class(&'a [u8]),
    Tuple(Rc<[Self]>),
    /// A storage of `f32`, by its name.
    Storage(&'a str),
    Tensor(Rc<Place>),
    Dictionary(Dictionary<'a>),
    Other,
}

#[derive(Default)]
struct Dictionary<'a> {
    /// Dictionaries in each other below it.
    depth: usize,
    entries: BTreeMap<String, Value<'a>>,
}

impl<'a> Dictionary<'a> {
    fn insert(&mut self, key: String, value: Value<'a>) -> Option<()> {
        if let Value::Dictionary(inner) = &value {
            self.depth = self.depth.max(inner.depth + 1);
        }
        self.entries.insert(key, value);
        (self.depth <= DEEPEST).then_some(())
    }
}

impl Value<'_> {
    /// The same once more; `None` of a dictionary, which would have to be one and the same, whatever is put into it later.
    fn again(&self) -> Option<Self> {
        Some(match self {
            Self::Text(text) => Self::Text(text),
            Self::Number(number) => Self::Number(*number),
            Self::Class(class) => Self::Class(class),
            Self::Tuple(items) => Self::Tuple(items.clone()),
            Self::Storage(name) => Self::Storage(name),
            Self::Tensor(place) => Self::Tensor(place.clone()),
            Self::Dictionary(_) => return None,
            Self::Other => Self::Other,
        })
    }

    /// Extents or strides.
    fn numbers(&self) -> Option<Vec<usize>> {
        let Self::Tuple(items) = self else { return None };
        items.iter().map(|item| if let Self::Number(number) = item { Some(*number) } else { None }).collect()
    }
}

#[derive(Default)]
struct Machine<'a> {
    stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    /// What may be asked for again, by its number; `None` for a dictionary.
    kept: HashMap<usize, Option<Value<'a>>>,
}

impl<'a> Machine<'a> {
    /// `None` where the operation is none of those, or there is nothing to do it with.
    fn follow(&mut self, operation: &'a [u8]) -> Option<()> {
        let (code, argument) = operation.split_first()?;
        match code {
            // The protocol, and a piece of it.
            0x80 | 0x95 => {}
            b'(' => self.marks.push(self.stack.len()),
            // None, a fraction, true, false, a list: no name and no place.
            b'N' | b'G' | 0x88 | 0x89 | b']' => self.stack.push(Value::Other),
            b'K' | b'M' => self.stack.push(Value::Number(number(argument))),
            b'J' => {
                let is_negative = argument.last().is_some_and(|byte| byte & 0x80 != 0);
                self.stack.push(if is_negative { Value::Other } else { Value::Number(number(argument)) });
            }
            b'X' => self.stack.push(Value::Text(std::str::from_utf8(argument.get(4..)?).ok()?)),
            b'c' => self.stack.push(Value::Class(argument)),
            b'}' => self.stack.push(Value::Dictionary(Dictionary::default())),
            b')' => self.stack.push(tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.take(usize::from(code - 0x84))?;
                self.stack.push(tuple(items));
            }
            b't' => {
                let items = self.above_mark()?;
                self.stack.push(tuple(items));
            }
            b'q' | b'r' => {
                self.kept.insert(number(argument), self.stack.last()?.again());
            }
            b'h' | b'j' => self.stack.push(self.kept.get(&number(argument))?.as_ref()?.again()?),
            b'Q' => {
                let storage = storage(&self.stack.pop()?);
                self.stack.push(storage);
            }
            b'R' => {
                let (arguments, class) = (self.stack.pop()?, self.stack.pop()?);
                self.stack.push(called(&class, &arguments));
            }
            b's' => {
                let items = self.take(2)?;
                self.set(items)?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(items)?;
            }
            // Into a list, which is not looked into.
            b'a' => drop(self.take(1)?),
            b'e' => drop(self.above_mark()?),
            // Attributes; those of a dictionary are its entries, too, as PyTorch's reader has it.
            b'b' => {
                let state = self.stack.pop()?;
                if let (Value::Dictionary(dictionary), Value::Dictionary(state)) = (self.stack.last_mut()?, state) {
                    state.entries.into_iter().try_for_each(|(key, value)| dictionary.insert(key, value))?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The last values.
    fn take(&mut self, count: usize) -> Option<Vec<Value<'a>>> {
        Some(self.stack.split_off(self.stack.len().checked_sub(count)?))
    }

    fn above_mark(&mut self) -> Option<Vec<Value<'a>>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len())?;
        Some(self.stack.split_off(mark))
    }

    /// Puts keys and values, one behind the other, into the dictionary on the stack; what else lies there is not looked into.
    fn set(&mut self, items: Vec<Value<'a>>) -> Option<()> {
        let Value::Dictionary(dictionary) = self.stack.last_mut()? else { return Some(()) };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let key = match key {
                Value::Text(text) => text.to_owned(),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            dictionary.insert(key, value)?;
        }
        Some(())
    }
}

/// A tuple; in it, only what arguments are made of is kept, so that nothing lies deep.
fn tuple(mut items: Vec<Value<'_>>) -> Value<'_> {
    for item in &mut items {
        let is_deep = match item {
            Value::Dictionary(_) => true,
            Value::Tuple(inner) => inner.iter().any(|item| !matches!(item, Value::Number(_))),
            _ => false,
        };
        if is_deep {
            *item = Value::Other;
        }
    }
    Value::Tuple(items.into())
}

/// A number of a pickle, little-endian.
fn number(argument: &[u8]) -> usize {
    argument.iter().rev().fold(0, |all, byte| (all << 8) | usize::from(*byte))
}

/// What is kept outside the pickle: `('storage', class, name, device, elements)`.
fn storage<'a>(id: &Value<'a>) -> Value<'a> {
    let Value::Tuple(fields) = id else { return Value::Other };
    match fields.as_ref() {
        [Value::Text("storage"), Value::Class(FLOATS), Value::Text(name), _, Value::Number(_)] => Value::Storage(name),
        _ => Value::Other,
    }
}

/// What a call gives.
fn called<'a>(class: &Value<'a>, arguments: &Value<'a>) -> Value<'a> {
    let (Value::Class(class), Value::Tuple(arguments)) = (class, arguments) else { return Value::Other };
    match (*class, arguments.as_ref()) {
        (ORDERED, []) => Value::Dictionary(Dictionary::default()),
        (TENSOR, [Value::Storage(name), Value::Number(first), shape, strides, _, _, ..]) => {
            let place = place(name, *first, shape, strides);
            place.map_or(Value::Other, |place| Value::Tensor(Rc::new(place)))
        }
        (PARAMETER, [Value::Tensor(place), ..]) => Value::Tensor(place.clone()),
        _ => Value::Other,
    }
}

/// `None` where it is empty or not contiguous. The stride of an extent of one says nothing, as in PyTorch.
fn place(storage: &str, first: usize, shape: &Value<'_>, strides: &Value<'_>) -> Option<Place> {
    let (shape, strides) = (shape.numbers()?, strides.numbers()?);
    if shape.len() != strides.len() {
        return None;
    }
    let mut elements: usize = 1;
    for (extent, stride) in shape.iter().zip(&strides).rev() {
        if *extent == 0 || (*extent > 1 && *stride != elements) {
            return None;
        }
        elements = elements.checked_mul(*extent)?;
    }
    Some(Place { storage: storage.to_owned(), first, shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `torch.save` writes for a tensor of the storage "7" of `f32`, from element 2 on.
    fn tensor(shape: &[u8], strides: &[u8]) -> Vec<u8> {
        let numbers = |numbers: &[u8]| {
            let numbers: Vec<u8> = numbers.iter().flat_map(|number| [b'K', *number]).collect();
            [b"(".as_slice(), &numbers, b"t"].concat()
        };
        let storage = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x007X\x03\0\0\0cpuK\x14tQK\x02";
        let (shape, strides) = (numbers(shape), numbers(strides));
        let rest = b"\x89ccollections\nOrderedDict\n)RtR".as_slice();
        [b"ctorch._utils\n_rebuild_tensor_v2\n".as_slice(), storage, &shape, &strides, rest].concat()
    }

    fn at(shape: &[usize]) -> Place {
        Place { storage: "7".to_owned(), first: 2, shape: shape.to_vec() }
    }

    fn found(pickle: &[&[u8]]) -> Option<Vec<(String, Place)>> {
        places(&pickle.concat()).map(|places| places.into_iter().collect())
    }

    #[test]
    fn contiguous_tensors_of_nested_dictionaries_have_a_place() {
        let (matrix, scalar) = (tensor(&[2, 3], &[3, 1]), tensor(&[], &[]));
        let parameter = [b"ctorch._utils\n_rebuild_parameter\n(".as_slice(), &matrix, b"\x89NtR"].concat();
        let pickle: &[&[u8]] = &[
            b"\x80\x02}q\0(X\x01\0\0\0a}(X\x01\0\0\0b",
            &matrix,
            b"q\x01X\x01\0\0\0ch\x01K\x05",
            &parameter,
            b"uX\x01\0\0\0d",
            &scalar,
            b"X\x04\0\0\0step](K\x01K\x02eu.",
        ];
        let wanted = [("a.5", at(&[2, 3])), ("a.b", at(&[2, 3])), ("a.c", at(&[2, 3])), ("d", at(&[]))];
        assert_eq!(found(pickle), Some(wanted.map(|(name, place)| (name.to_owned(), place)).to_vec()));
    }

    #[test]
    fn a_view_has_a_place_where_its_values_lie_one_behind_the_other() {
        let is_found = |shape: &[u8], strides: &[u8]| {
            !found(&[b"\x80\x02}X\x01\0\0\0a", &tensor(shape, strides), b"s."]).unwrap().is_empty()
        };
        assert!(is_found(&[2, 1, 3], &[3, 9, 1]), "the stride of an extent of one says nothing");
        assert!(is_found(&[1], &[0]));
        for (shape, strides, what) in [
            ([3, 2], [1, 3], "turned"),
            ([2, 2], [3, 1], "cut out"),
            ([4, 1], [0, 1], "one row many times"),
            ([0, 3], [3, 1], "empty"),
        ] {
            assert!(!is_found(&shape, &strides), "{what}");
        }
    }

    #[test]
    fn what_is_not_understood_has_no_place() {
        let whole = tensor(&[2], &[1]);
        // The same name by two ways.
        let twice: &[&[u8]] = &[b"}(X\x03\0\0\0a.b", &whole, b"X\x01\0\0\0a}X\x01\0\0\0b", &whole, b"su."];
        assert_eq!(found(twice), Some(Vec::new()));
        // A dictionary under two names, an object, and an end without a dictionary.
        assert_eq!(found(&[b"}(X\x01\0\0\0a}q\0X\x01\0\0\0bh\0u."]), None);
        assert_eq!(found(&[b"}X\x01\0\0\0acnn\nNet\n)\x81s."]), None);
        assert_eq!(found(&[&whole, b"."]), None);
        assert_eq!(found(&[b"s."]), None);
        // Half precision, in whose storage four bytes are two numbers.
        let at = whole.windows(5).position(|window| window == b"Float").unwrap();
        let half = [&whole[..at], b"Half", &whole[at + 5..]].concat();
        assert_eq!(found(&[b"}X\x01\0\0\0a", &half, b"s."]), Some(Vec::new()));
        // Deeper than any network.
        let deep =
            |levels: usize| [b"}".as_slice(), &b"X\x01\0\0\0a}".repeat(levels), &b"s".repeat(levels), b"."].concat();
        assert!(places(&deep(DEEPEST)).is_some() && places(&deep(DEEPEST + 1)).is_none());
    }
}
