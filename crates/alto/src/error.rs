//! Error bodies (RFC 7285 section 8.5), which are also what this crate's readers fail with.
use crate::{
    Limits,
    json::{self, Path},
};
use std::fmt;

/// `meta.code` of an error (RFC 7285 section 8.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// `E_SYNTAX`
    Syntax,
    /// `E_MISSING_FIELD`
    MissingField,
    /// `E_INVALID_FIELD_TYPE`
    InvalidFieldType,
    /// `E_INVALID_FIELD_VALUE`
    InvalidFieldValue,
}

impl Code {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "E_SYNTAX",
            Self::MissingField => "E_MISSING_FIELD",
            Self::InvalidFieldType => "E_INVALID_FIELD_TYPE",
            Self::InvalidFieldValue => "E_INVALID_FIELD_VALUE",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A string that is none of the codes of RFC 7285.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an error code of RFC 7285")]
pub struct InvalidCode {
    /// What was given.
    pub text: Box<str>,
}

impl std::str::FromStr for Code {
    type Err = InvalidCode;
    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        [Self::Syntax, Self::MissingField, Self::InvalidFieldType, Self::InvalidFieldValue]
            .into_iter()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| InvalidCode { text: text.into() })
    }
}

/// One refusal, as it goes to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody {
    /// Why.
    pub code: Code,
    /// `meta.syntax-error`: where and what, for E_SYNTAX.
    pub syntax_error: Option<String>,
    /// `meta.field`: path of the field at fault, `cost-type/cost-metric`.
    pub field: Option<String>,
    /// `meta.value`: the value at fault, as JSON text or plain string.
    pub value: Option<String>,
    /// Whether `value` goes out as the JSON it is, not as a string: RFC 7285 knows strings only, RFC 8895 section 7.6 has arrays.
    pub value_is_json: bool,
}

impl ErrorBody {
    /// E_SYNTAX: the text cannot be read, and why.
    pub fn syntax(what: impl Into<String>) -> Self {
        Self { code: Code::Syntax, syntax_error: Some(what.into()), field: None, value: None, value_is_json: false }
    }

    /// E_MISSING_FIELD: `field` is a path, `cost-type/cost-metric`.
    pub fn missing(field: impl Into<String>) -> Self {
        Self { code: Code::MissingField, syntax_error: None, field: Some(field.into()), value: None, value_is_json: false }
    }

    /// E_INVALID_FIELD_TYPE.
    pub fn wrong_type(field: impl Into<String>) -> Self {
        Self { code: Code::InvalidFieldType, syntax_error: None, field: Some(field.into()), value: None, value_is_json: false }
    }

    /// E_INVALID_FIELD_VALUE.
    pub fn invalid(field: impl Into<String>, value: impl Into<String>) -> Self {
        let (field, value) = (Some(field.into()), Some(value.into()));
        Self { code: Code::InvalidFieldValue, syntax_error: None, field, value, value_is_json: false }
    }

    /// E_INVALID_FIELD_VALUE where the value is JSON text, and no string.
    pub fn invalid_json(field: impl Into<String>, value: impl Into<String>) -> Self {
        Self { value_is_json: true, ..Self::invalid(field, value) }
    }

    /// Reads an `application/alto-error+json` body.
    pub fn from_json(body: &[u8]) -> Result<Self, Self> {
        Self::from_json_within(body, &Limits::default())
    }

    /// The same, with bounds.
    pub fn from_json_within(body: &[u8], limits: &Limits) -> Result<Self, Self> {
        json::document(body, limits, |reader| {
            let root = Path::ROOT;
            let mut found = None;
            reader.object(&root, |reader, key| match &**key {
                "meta" => {
                    found = Some(Self::read_meta(reader, &root.child("meta"))?);
                    Ok(())
                }
                _ => reader.skip(),
            })?;
            found.ok_or_else(|| root.missing("meta"))
        })
    }

    fn read_meta(reader: &mut json::Reader<'_>, path: &Path<'_>) -> Result<Self, Self> {
        let (mut code, mut syntax_error, mut field, mut value, mut value_is_json) = (None, None, None, None, false);
        reader.object(path, |reader, key| {
            let at = path.child(key);
            match &**key {
                "code" => code = Some(reader.parsed_field(&at)?),
                "syntax-error" => syntax_error = Some(reader.string_field(&at)?.into_owned()),
                "field" => field = Some(reader.string_field(&at)?.into_owned()),
                "value" if reader.peek()? != json::Type::String => {
                    let start = reader.offset();
                    reader.skip()?;
                    (value, value_is_json) = (Some(reader.since(start).to_owned()), true);
                }
                "value" => value = Some(reader.string_field(&at)?.into_owned()),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        // "If the "value" field is specified, the "field" field MUST be specified."
        if value.is_some() && field.is_none() {
            return Err(path.missing("field"));
        }
        Ok(Self { code: code.ok_or_else(|| path.missing("code"))?, syntax_error, field, value, value_is_json })
    }

    /// The `application/alto-error+json` body.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut document = json::Object::new(&mut out);
        let mut meta = json::Object::new(document.key("meta"));
        meta.string("code", self.code.as_str());
        for (name, text) in [("syntax-error", &self.syntax_error), ("field", &self.field)] {
            if let Some(text) = text {
                meta.string(name, text);
            }
        }
        match &self.value {
            Some(text) if self.value_is_json => meta.key("value").extend_from_slice(text.as_bytes()),
            Some(text) => meta.string("value", text),
            None => {}
        }
        meta.end();
        document.end();
        out
    }
}

/// One line for people and logs.
impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(what) = &self.syntax_error {
            write!(f, ": {what}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": field {field}")?;
        }
        if let Some(value) = &self.value {
            write!(f, " has value {value:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ErrorBody {}
