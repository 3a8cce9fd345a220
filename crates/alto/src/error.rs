//! Error bodies (RFC 7285 section 8.5).

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
}
