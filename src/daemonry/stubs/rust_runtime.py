"""What each written Rust module begins with: JSON, and one call or stream on a connection of its own."""

from __future__ import annotations

from typing import Final

RUNTIME: Final = r"""use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

const MAX_REPLY_BYTES: usize = 16 << 20;
const MAX_DEPTH: usize = 128;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Int(value) => out.push_str(&value.to_string()),
            Json::Float(value) => out.push_str(&format!("{value:?}")),
            Json::String(value) => write_string(value, out),
            Json::Array(values) => {
                out.push('[');
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (place, (name, value)) in fields.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_string(value: &str, out: &mut String) {
    out.push('"');
    for one in value.chars() {
        match one {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            one if (one as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", one as u32)),
            one => out.push(one),
        }
    }
    out.push('"');
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn blank(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Result<u8, String> {
        self.blank();
        self.text
            .get(self.at)
            .copied()
            .ok_or_else(|| String::from("the JSON ends early"))
    }

    fn take(&mut self, wanted: u8) -> Result<(), String> {
        if self.next()? != wanted {
            return Err(format!("expected {:?} at byte {}", wanted as char, self.at));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, String> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(format!("no JSON at byte {}", self.at));
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err(String::from("the JSON is nested too deep"));
        }
        match self.next()? {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'"' => Ok(Json::String(self.string()?)),
            b'[' => {
                self.at += 1;
                let mut values = Vec::new();
                while self.next()? != b']' {
                    if !values.is_empty() {
                        self.take(b',')?;
                    }
                    values.push(self.value(depth + 1)?);
                }
                self.at += 1;
                Ok(Json::Array(values))
            }
            b'{' => {
                self.at += 1;
                let mut fields = BTreeMap::new();
                while self.next()? != b'}' {
                    if !fields.is_empty() {
                        self.take(b',')?;
                    }
                    self.blank();
                    let name = self.string()?;
                    self.take(b':')?;
                    fields.insert(name, self.value(depth + 1)?);
                }
                self.at += 1;
                Ok(Json::Object(fields))
            }
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        while matches!(
            self.text.get(self.at),
            Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
        ) {
            self.at += 1;
        }
        let digits = std::str::from_utf8(&self.text[start..self.at]).unwrap_or("");
        if let Ok(value) = digits.parse() {
            return Ok(Json::Int(value));
        }
        digits
            .parse()
            .map(Json::Float)
            .map_err(|_| format!("no JSON at byte {start}"))
    }

    fn string(&mut self) -> Result<String, String> {
        self.take(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let one = *self.text.get(self.at).ok_or("a string does not end")?;
            self.at += 1;
            match one {
                b'"' => break,
                b'\\' => {
                    let mut letter = [0; 4];
                    bytes.extend_from_slice(self.escaped()?.encode_utf8(&mut letter).as_bytes());
                }
                one => bytes.push(one),
            }
        }
        String::from_utf8(bytes).map_err(|_| String::from("a string is not UTF-8"))
    }

    fn escaped(&mut self) -> Result<char, String> {
        let one = *self.text.get(self.at).ok_or("a string does not end")?;
        self.at += 1;
        Ok(match one {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                let high = self.unit()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return char::from_u32(high)
                        .ok_or_else(|| String::from("half a surrogate pair"));
                }
                if self.text.get(self.at..self.at + 2) != Some(b"\\u") {
                    return Err(String::from("half a surrogate pair"));
                }
                self.at += 2;
                let low = self.unit()?;
                let code = 0x10000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00);
                return char::from_u32(code).ok_or_else(|| String::from("half a surrogate pair"));
            }
            b'"' | b'\\' | b'/' => one as char,
            _ => return Err(String::from("an unknown escape")),
        })
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .ok_or("a string does not end")?;
        self.at += 4;
        let digits = std::str::from_utf8(digits).map_err(|_| String::from("an unknown escape"))?;
        u32::from_str_radix(digits, 16).map_err(|_| String::from("an unknown escape"))
    }
}

/// A type of the description: it is written as JSON and read from it.
pub trait Wire: Sized {
    fn to_json(&self) -> Json;
    fn from_json(value: &Json) -> Result<Self, String>;
}

macro_rules! plain {
    ($kind:ty, $case:ident) => {
        impl Wire for $kind {
            fn to_json(&self) -> Json {
                Json::$case(self.clone())
            }
            fn from_json(value: &Json) -> Result<Self, String> {
                match value {
                    Json::$case(found) => Ok(found.clone()),
                    other => Err(format!("expected {}, got {other:?}", stringify!($kind))),
                }
            }
        }
    };
}

plain!(bool, Bool);
plain!(i64, Int);
plain!(String, String);

impl Wire for f64 {
    fn to_json(&self) -> Json {
        Json::Float(*self)
    }
    fn from_json(value: &Json) -> Result<Self, String> {
        match value {
            Json::Float(found) => Ok(*found),
            Json::Int(found) => Ok(*found as f64),
            other => Err(format!("expected f64, got {other:?}")),
        }
    }
}

impl Wire for Json {
    fn to_json(&self) -> Json {
        self.clone()
    }
    fn from_json(value: &Json) -> Result<Self, String> {
        Ok(value.clone())
    }
}

impl<T: Wire> Wire for Box<T> {
    fn to_json(&self) -> Json {
        (**self).to_json()
    }
    fn from_json(value: &Json) -> Result<Self, String> {
        T::from_json(value).map(Box::new)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Wire::to_json)
    }
    fn from_json(value: &Json) -> Result<Self, String> {
        match value {
            Json::Null => Ok(None),
            other => T::from_json(other).map(Some),
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn to_json(&self) -> Json {
        Json::Array(self.iter().map(Wire::to_json).collect())
    }
    fn from_json(value: &Json) -> Result<Self, String> {
        match value {
            Json::Array(values) => values.iter().map(T::from_json).collect(),
            other => Err(format!("expected an array, got {other:?}")),
        }
    }
}

impl<T: Wire> Wire for BTreeMap<String, T> {
    fn to_json(&self) -> Json {
        Json::Object(
            self.iter()
                .map(|(name, value)| (name.clone(), value.to_json()))
                .collect(),
        )
    }
    fn from_json(value: &Json) -> Result<Self, String> {
        fields_of(value)?
            .iter()
            .map(|(name, value)| Ok((name.clone(), T::from_json(value)?)))
            .collect()
    }
}

impl Wire for BTreeSet<String> {
    fn to_json(&self) -> Json {
        Json::Object(
            self.iter()
                .map(|name| (name.clone(), Json::Object(BTreeMap::new())))
                .collect(),
        )
    }
    fn from_json(value: &Json) -> Result<Self, String> {
        Ok(fields_of(value)?.keys().cloned().collect())
    }
}

fn put(fields: &mut BTreeMap<String, Json>, name: &str, value: &impl Wire) {
    let value = value.to_json();
    if value != Json::Null {
        fields.insert(String::from(name), value);
    }
}

fn fields_of(value: &Json) -> Result<&BTreeMap<String, Json>, String> {
    match value {
        Json::Object(fields) => Ok(fields),
        other => Err(format!("expected an object, got {other:?}")),
    }
}

fn take<T: Wire>(fields: &BTreeMap<String, Json>, name: &str) -> Result<T, String> {
    T::from_json(fields.get(name).unwrap_or(&Json::Null))
        .map_err(|reason| format!("{name}: {reason}"))
}

fn result_of<T: Wire>(value: &Json) -> Result<T, String> {
    take(fields_of(value)?, "result")
}

fn nothing(_: &Json) -> Result<(), String> {
    Ok(())
}

/// The values of a stream, as they come; dropping it ends the stream.
pub struct Replies<T> {
    connection: UnixStream,
    received: Vec<u8>,
    ended: bool,
    read: fn(&Json) -> Result<T, String>,
}

fn connected<T>(
    path: &Path,
    method: &str,
    parameters: BTreeMap<String, Json>,
    more: bool,
    read: fn(&Json) -> Result<T, String>,
) -> Result<Replies<T>, Error> {
    let mut connection = UnixStream::connect(path).map_err(Error::Connection)?;
    let mut call = BTreeMap::new();
    put(&mut call, "method", &String::from(method));
    put(&mut call, "parameters", &Json::Object(parameters));
    if more {
        put(&mut call, "more", &true);
    }
    let mut text = String::new();
    Json::Object(call).write(&mut text);
    text.push('\0');
    connection
        .write_all(text.as_bytes())
        .map_err(Error::Connection)?;
    Ok(Replies {
        connection,
        received: Vec::new(),
        ended: false,
        read,
    })
}

fn replies<T>(
    path: &Path,
    method: &str,
    parameters: BTreeMap<String, Json>,
    read: fn(&Json) -> Result<T, String>,
) -> Result<Replies<T>, Error> {
    connected(path, method, parameters, true, read)
}

fn one<T>(
    path: &Path,
    method: &str,
    parameters: BTreeMap<String, Json>,
    read: fn(&Json) -> Result<T, String>,
) -> Result<T, Error> {
    let mut replies = connected(path, method, parameters, false, read)?;
    replies
        .next()
        .unwrap_or_else(|| Err(Error::Reply(String::from("no reply"))))
}

fn error_as<T: Wire>(parameters: &Json, error: fn(T) -> Error) -> Result<Error, String> {
    T::from_json(parameters).map(error)
}

impl<T> Replies<T> {
    fn message(&mut self) -> Result<Json, Error> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.received[searched..].iter().position(|one| *one == 0) {
                let rest = self.received.split_off(searched + end + 1);
                let whole = std::mem::replace(&mut self.received, rest);
                let mut parser = Parser {
                    text: &whole[..whole.len() - 1],
                    at: 0,
                };
                return parser.value(0).map_err(Error::Reply);
            }
            searched = self.received.len();
            if searched > MAX_REPLY_BYTES {
                return Err(Error::Reply(String::from("the reply is too long")));
            }
            let mut chunk = [0; 65536];
            let count = self
                .connection
                .read(&mut chunk)
                .map_err(Error::Connection)?;
            if count == 0 {
                return Err(Error::Connection(std::io::ErrorKind::UnexpectedEof.into()));
            }
            self.received.extend_from_slice(&chunk[..count]);
        }
    }

    fn reply(&mut self) -> Result<T, Error> {
        let message = self.message()?;
        let fields = fields_of(&message).map_err(Error::Reply)?;
        let empty = Json::Object(BTreeMap::new());
        let parameters = fields.get("parameters").unwrap_or(&empty);
        if let Some(Json::String(name)) = fields.get("error") {
            return Err(error_of(name.clone(), parameters.clone()));
        }
        self.ended = fields.get("continues") != Some(&Json::Bool(true));
        (self.read)(parameters).map_err(Error::Reply)
    }
}

impl<T> Iterator for Replies<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let reply = self.reply();
        self.ended |= reply.is_err();
        Some(reply)
    }
}
"""
