//! Content codings (RFC 9110 section 8.4.1). Levels are chosen for what is made once per version and sent many times, but on a
//! machine that has something else to do as well.
use brotli::enc::{BrotliEncoderParams, writer::CompressorWriter};
use flate2::{Compression, write::GzEncoder};
use history::Coding;
use std::io::Write;

/// How much time a body deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// It will be sent again and again.
    Kept,
    /// It is sent once.
    Once,
}

/// `body` in `coding`.
pub(crate) fn compress(body: &[u8], coding: Coding, effort: Effort) -> Vec<u8> {
    const MEMORY: &str = "writing to memory does not fail";
    // A cost map shrinks to about a quarter; the rest of the vector is given back at the end.
    let mut out = Vec::with_capacity(body.len() / 3 + 64);
    match coding {
        Coding::Gzip => {
            let level = if effort == Effort::Kept { Compression::new(6) } else { Compression::fast() };
            let mut encoder = GzEncoder::new(out, level);
            encoder.write_all(body).expect(MEMORY);
            out = encoder.finish().expect(MEMORY);
        }
        Coding::Brotli => {
            let quality = if effort == Effort::Kept { 5 } else { 1 };
            let params = BrotliEncoderParams { quality, lgwin: 22, size_hint: body.len(), ..BrotliEncoderParams::default() };
            let mut encoder = CompressorWriter::with_params(&mut out, 4096, &params);
            encoder.write_all(body).expect(MEMORY);
            drop(encoder);
        }
        Coding::Zstd => {
            let level = if effort == Effort::Kept { 6 } else { 1 };
            out = zstd::bulk::compress(body, level).expect("zstd takes any input");
        }
    }
    out.shrink_to_fit();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn every_coding_comes_back() {
        let body: Vec<u8> = (0..100_000u32).flat_map(|n| (n % 977).to_string().into_bytes()).collect();
        for body in [&body[..], b"", b"x"] {
            for effort in [Effort::Kept, Effort::Once] {
                for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
                    let coded = compress(body, coding, effort);
                    let mut back = Vec::new();
                    match coding {
                        Coding::Gzip => flate2::read::GzDecoder::new(&coded[..]).read_to_end(&mut back).map(drop).unwrap(),
                        Coding::Brotli => brotli::Decompressor::new(&coded[..], 4096).read_to_end(&mut back).map(drop).unwrap(),
                        Coding::Zstd => back = zstd::stream::decode_all(&coded[..]).unwrap(),
                    }
                    assert_eq!(back, body, "{coding:?} {effort:?}");
                }
            }
        }
    }
}
