//! A key's URL as a QR code in a PNG (ISO/IEC 15948): one bit a pixel, no text, no animation.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use qrcode::{Color, EcLevel, QrCode};

/// Widest picture that is drawn: half a megabyte of pixels before compression.
pub const WIDTH_MAX_PIXELS: u32 = 2048;

/// Why there is no picture.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BarcodeError {
    /// More text than a QR code takes.
    #[error("content too long to encode")]
    ContentLength,
    /// Fewer pixels than the code has modules.
    #[error("can not scale barcode to an image smaller than {0}x{0}")]
    FewPixels(u32),
    /// More pixels than are drawn here.
    #[error("can not scale barcode to an image larger than {WIDTH_MAX_PIXELS}x{WIDTH_MAX_PIXELS}")]
    ManyPixels,
}

/// A square PNG of `width` pixels: the code in the middle, as large as whole pixels a module allow.
pub fn png(text: &str, width: u32) -> Result<Vec<u8>, BarcodeError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(|_| BarcodeError::ContentLength)?;
    let modules = u32::try_from(code.width()).unwrap_or(u32::MAX);
    if width < modules {
        return Err(BarcodeError::FewPixels(modules));
    }
    if width > WIDTH_MAX_PIXELS {
        return Err(BarcodeError::ManyPixels);
    }
    let scale = width / modules;
    let margin = (width - modules * scale) / 2;
    let colors = code.to_colors();
    let module = |pixel: u32| pixel.checked_sub(margin).map(|p| p / scale).filter(|m| *m < modules);
    let dark = |x: u32, y: u32| match (module(x), module(y)) {
        (Some(column), Some(row)) => colors.get((row * modules + column) as usize) == Some(&Color::Dark),
        _ => false,
    };
    let mut lines = Vec::with_capacity((width * (width / 8 + 2)) as usize);
    for y in 0..width {
        lines.push(0); // no filter
        for byte in 0..width.div_ceil(8) {
            // A set bit is white; what stands right of the picture is not looked at.
            lines.push((0..8).fold(0u8, |bits, i| bits << 1 | u8::from(!dark(byte * 8 + i, y))));
        }
    }
    Ok(container(width, &lines))
}

fn container(width: u32, lines: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), width.to_be_bytes()].concat();
    header.extend([1, 0, 0, 0, 0]); // one bit, grey, deflate, adaptive filters, not interlaced
    chunk(&mut out, b"IHDR", &header);
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing into a vector does not fail; if it did, the chunk would be empty and the picture blank.
    let packed = packed.write_all(lines).and_then(|()| packed.finish()).unwrap_or_default();
    chunk(&mut out, b"IDAT", &packed);
    chunk(&mut out, b"IEND", &[]);
    out
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    out.extend(u32::try_from(content.len()).unwrap_or_default().to_be_bytes());
    let mut sum = flate2::Crc::new();
    sum.update(kind);
    sum.update(content);
    out.extend(kind);
    out.extend(content);
    out.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "otpauth://totp/I:a?algorithm=SHA1&digits=6&issuer=I&period=30&secret=VW2W5PK56XB7YN2IMMJEYXES42MV3XP5";

    /// The pixels of a picture that `png` made, true for dark.
    fn pixels(picture: &[u8], width: usize) -> Vec<Vec<bool>> {
        let at = picture.windows(4).position(|w| w == b"IDAT").unwrap();
        let length = u32::from_be_bytes(picture[at - 4..at].try_into().unwrap()) as usize;
        let mut lines = Vec::new();
        let mut reader = flate2::read::ZlibDecoder::new(&picture[at + 4..at + 4 + length]);
        std::io::Read::read_to_end(&mut reader, &mut lines).unwrap();
        let bytes = width.div_ceil(8) + 1;
        assert_eq!(lines.len(), bytes * width);
        lines.chunks(bytes).map(|l| (0..width).map(|x| l[1 + x / 8] & 0x80 >> (x % 8) == 0).collect()).collect()
    }

    #[test]
    fn the_code_stands_in_the_middle_with_a_margin() {
        let picture = png(URL, 200).unwrap();
        assert_eq!(&picture[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&picture[16..25], [0, 0, 0, 200, 0, 0, 0, 200, 1]);
        let pixels = pixels(&picture, 200);
        let code = QrCode::with_error_correction_level(URL, EcLevel::M).unwrap();
        let (modules, colors) = (code.width(), code.to_colors());
        let (scale, margin) = (200 / modules, (200 - 200 / modules * modules) / 2);
        for (y, line) in pixels.iter().enumerate() {
            for (x, dark) in line.iter().enumerate() {
                let inside = |p: usize| (margin..margin + scale * modules).contains(&p);
                let want = inside(x) && inside(y) && colors[(y - margin) / scale * modules + (x - margin) / scale] == Color::Dark;
                assert_eq!(*dark, want, "{x},{y}");
            }
        }
    }

    #[test]
    fn sizes_that_cannot_be_drawn_are_refused() {
        assert_eq!(png(URL, 40), Err(BarcodeError::FewPixels(41)));
        assert!(png(URL, 41).is_ok());
        assert_eq!(png(URL, WIDTH_MAX_PIXELS + 1), Err(BarcodeError::ManyPixels));
        assert_eq!(png(&"x".repeat(5000), 2000), Err(BarcodeError::ContentLength));
    }
}
