//! Places on the globe and what light needs between them.
//!
//! Coordinates in degrees (WGS 84, taken as a sphere: within 0.5 %), distances in km, delays in microseconds.
use super::{Options, options::DelayFrom};

/// Mean radius of the Earth (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// Great-circle distance (haversine).
pub(super) fn distance_km((lat_a, lon_a): (f64, f64), (lat_b, lon_b): (f64, f64)) -> f64 {
    let (phi_a, phi_b) = (lat_a.to_radians(), lat_b.to_radians());
    let half = |a: f64, b: f64| ((b - a) / 2.0).sin().powi(2);
    let h = half(phi_a, phi_b) + phi_a.cos() * phi_b.cos() * half(lon_a.to_radians(), lon_b.to_radians());
    2.0 * EARTH_RADIUS_KM * h.sqrt().min(1.0).asin()
}

/// One-way delay of a link by the options: from coordinates when both ends have some, or the file's own.
pub(super) fn delay_us(options: &Options, from: Option<(f64, f64)>, to: Option<(f64, f64)>, file: Option<f64>) -> Option<f64> {
    match options.delay {
        DelayFrom::Nowhere => None,
        DelayFrom::File => file,
        // Whole microseconds: cables do not follow great circles closer than that.
        DelayFrom::Coordinates => Some((distance_km(from?, to?) / options.fibre_km_per_us).round()).filter(|delay| delay.is_finite()),
    }
}

/// `None` unless both are there and on the globe.
pub(super) fn location(latitude: Option<f64>, longitude: Option<f64>) -> Option<(f64, f64)> {
    let (latitude, longitude) = (latitude?, longitude?);
    (latitude.abs() <= 90.0 && longitude.abs() <= 180.0).then_some((latitude, longitude))
}
