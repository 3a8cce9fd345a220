//! A section is a plain struct whose fields are its keys. Name, default, example and meaning of a key are written once, here in the
//! struct's definition; the parser, `config show` and rustdoc all read that.
use toml::Value;

/// What is known of a key without a value.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As a Rust field: `public_url`.
    pub field: &'static str,
    /// Its meaning, line by line.
    pub about: &'static [&'static str],
    /// What may stand on the right.
    pub expects: &'static str,
    /// A TOML value to show where the default is "unset".
    pub example: Option<&'static str>,
}

impl Key {
    /// As in the file: `public-url`.
    pub fn name(&self) -> String {
        self.field.replace('_', "-")
    }
}

/// A table of the configuration.
pub trait Section: Default {
    /// `[TITLE]`, or `[[TITLE]]` where it may occur several times.
    const TITLE: &'static str;
    /// Its meaning, line by line.
    const ABOUT: &'static [&'static str];
    /// Its keys, in the order of the documentation.
    const KEYS: &'static [Key];

    /// Sets a key (by its field name) from a TOML value.
    fn set(&mut self, field: &str, value: Value) -> Result<(), String>;
    /// Sets a key (by its field name) from a variable of the environment.
    fn set_text(&mut self, field: &str, text: &str) -> Result<(), String>;
    /// The value of a key, `None` when unset.
    fn get(&self, field: &str) -> Option<Value>;
}

/// Defines sections. `key: type = default,` or `key: type = default => "example",`.
macro_rules! section {
    ($(
        $(#[doc = $about:literal])+
        $title:literal $name:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr $(=> $example:literal)?, )*
        }
    )*) => {$(
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $key: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* }
            }
        }

        impl $crate::config::section::Section for $name {
            const TITLE: &'static str = $title;
            const ABOUT: &'static [&'static str] = &[$($about),+];
            const KEYS: &'static [$crate::config::section::Key] = &[$(
                $crate::config::section::Key {
                    field: stringify!($key),
                    about: &[$($doc),+],
                    expects: <$type as $crate::config::setting::Setting>::EXPECTS,
                    example: $crate::config::section::first(&[$($example)?]),
                },
            )*];

            fn set(&mut self, field: &str, value: toml::Value) -> Result<(), String> {
                match field {
                    $( stringify!($key) => self.$key = $crate::config::setting::Setting::from_value(value)?, )*
                    _ => unreachable!("{field} is no key of {}", $title),
                }
                Ok(())
            }

            fn set_text(&mut self, field: &str, text: &str) -> Result<(), String> {
                match field {
                    $( stringify!($key) => self.$key = $crate::config::setting::Setting::from_text(text)?, )*
                    _ => unreachable!("{field} is no key of {}", $title),
                }
                Ok(())
            }

            fn get(&self, field: &str) -> Option<toml::Value> {
                match field {
                    $( stringify!($key) => $crate::config::setting::Setting::to_value(&self.$key), )*
                    _ => unreachable!("{field} is no key of {}", $title),
                }
            }
        }
    )*};
}
pub(crate) use section;

/// The only element, if there is one.
pub const fn first(of: &[&'static str]) -> Option<&'static str> {
    if of.is_empty() { None } else { Some(of[0]) }
}
