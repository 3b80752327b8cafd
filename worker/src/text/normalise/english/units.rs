//! Units of measure.

use crate::text::normalise::scan::word_ends;

/// What a unit is called: its singular, and what follows the part that takes the plural.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    one: &'static str,
    many: &'static str,
    tail: &'static str,
}

impl Name {
    pub(super) fn singular(self) -> String {
        format!("{}{}", self.one, self.tail)
    }

    pub(super) fn plural(self) -> String {
        format!("{}{}", self.many, self.tail)
    }
}

/// Written, one, many, tail.
const UNITS: &[(&str, &str, &str, &str)] = &[
    ("%", "percent", "percent", ""),
    ("‰", "per mille", "per mille", ""),
    ("km/h", "kilometer", "kilometers", " per hour"),
    ("kph", "kilometer", "kilometers", " per hour"),
    ("km/s", "kilometer", "kilometers", " per second"),
    ("m/s", "meter", "meters", " per second"),
    ("m/s²", "meter", "meters", " per second squared"),
    ("mph", "mile", "miles", " per hour"),
    ("kg/m²", "kilogram", "kilograms", " per square meter"),
    ("kg/m³", "kilogram", "kilograms", " per cubic meter"),
    ("g/cm³", "gram", "grams", " per cubic centimeter"),
    ("g/L", "gram", "grams", " per liter"),
    ("mg/L", "milligram", "milligrams", " per liter"),
    ("mg/dL", "milligram", "milligrams", " per deciliter"),
    ("W/m²", "watt", "watts", " per square meter"),
    ("°C", "degree", "degrees", " Celsius"),
    ("° C", "degree", "degrees", " Celsius"),
    ("°F", "degree", "degrees", " Fahrenheit"),
    ("°", "degree", "degrees", ""),
    ("km²", "square kilometer", "square kilometers", ""),
    ("km2", "square kilometer", "square kilometers", ""),
    ("m²", "square meter", "square meters", ""),
    ("m2", "square meter", "square meters", ""),
    ("m³", "cubic meter", "cubic meters", ""),
    ("cm³", "cubic centimeter", "cubic centimeters", ""),
    ("cm²", "square centimeter", "square centimeters", ""),
    ("sq ft", "square foot", "square feet", ""),
    ("km", "kilometer", "kilometers", ""),
    ("m", "meter", "meters", ""),
    ("cm", "centimeter", "centimeters", ""),
    ("mm", "millimeter", "millimeters", ""),
    ("μm", "micrometer", "micrometers", ""),
    ("nm", "nanometer", "nanometers", ""),
    ("kg", "kilogram", "kilograms", ""),
    ("g", "gram", "grams", ""),
    ("mg", "milligram", "milligrams", ""),
    ("μg", "microgram", "micrograms", ""),
    ("lb", "pound", "pounds", ""),
    ("lbs", "pound", "pounds", ""),
    ("oz", "ounce", "ounces", ""),
    ("ft", "foot", "feet", ""),
    ("mi", "mile", "miles", ""),
    ("yd", "yard", "yards", ""),
    ("L", "liter", "liters", ""),
    ("l", "liter", "liters", ""),
    ("mL", "milliliter", "milliliters", ""),
    ("ml", "milliliter", "milliliters", ""),
    ("ha", "hectare", "hectares", ""),
    ("W", "watt", "watts", ""),
    ("kW", "kilowatt", "kilowatts", ""),
    ("MW", "megawatt", "megawatts", ""),
    ("GW", "gigawatt", "gigawatts", ""),
    ("Wh", "watt-hour", "watt-hours", ""),
    ("kWh", "kilowatt-hour", "kilowatt-hours", ""),
    ("MWh", "megawatt-hour", "megawatt-hours", ""),
    ("GWh", "gigawatt-hour", "gigawatt-hours", ""),
    ("V", "volt", "volts", ""),
    ("mAh", "milliamp-hour", "milliamp-hours", ""),
    ("Hz", "hertz", "hertz", ""),
    ("kHz", "kilohertz", "kilohertz", ""),
    ("MHz", "megahertz", "megahertz", ""),
    ("GHz", "gigahertz", "gigahertz", ""),
    ("KB", "kilobyte", "kilobytes", ""),
    ("kB", "kilobyte", "kilobytes", ""),
    ("MB", "megabyte", "megabytes", ""),
    ("GB", "gigabyte", "gigabytes", ""),
    ("TB", "terabyte", "terabytes", ""),
    ("PB", "petabyte", "petabytes", ""),
    ("GiB", "gibibyte", "gibibytes", ""),
    ("MiB", "mebibyte", "mebibytes", ""),
    ("Mbps", "megabit", "megabits", " per second"),
    ("Gbps", "gigabit", "gigabits", " per second"),
    ("hPa", "hectopascal", "hectopascals", ""),
    ("kPa", "kilopascal", "kilopascals", ""),
    ("Pa", "pascal", "pascals", ""),
    ("psi", "P S I", "P S I", ""),
    ("dB", "decibel", "decibels", ""),
    ("kcal", "kilocalorie", "kilocalories", ""),
    ("cal", "calorie", "calories", ""),
    ("kJ", "kilojoule", "kilojoules", ""),
    ("ppm", "part", "parts", " per million"),
    ("ppb", "part", "parts", " per billion"),
    ("rpm", "R P M", "R P M", ""),
    ("ms", "millisecond", "milliseconds", ""),
    ("μs", "microsecond", "microseconds", ""),
    ("ns", "nanosecond", "nanoseconds", ""),
    ("s", "second", "seconds", ""),
    ("min", "minute", "minutes", ""),
    ("h", "hour", "hours", ""),
    ("hr", "hour", "hours", ""),
    ("hrs", "hour", "hours", ""),
    ("px", "pixel", "pixels", ""),
    ("fps", "frame", "frames", " per second"),
];

/// One letter after a space can be a word or an initial of its own.
fn is_sure(written: &str, gap: usize, after: &str) -> bool {
    if !written.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return true;
    }
    let closed = word_ends(after) && !after.starts_with(['\'', '’', '²', '³', '/']);
    closed && (gap == 0 || !matches!(written, "s" | "h" | "V" | "W"))
}

/// The unit with which `after` begins, and its bytes, a space before it included. `1990s` is a decade before it is seconds.
pub(super) fn unit(after: &str) -> Option<(usize, Name)> {
    let word = after.strip_prefix([' ', '-']).unwrap_or(after);
    let gap = after.len() - word.len();
    let hyphened = after.starts_with('-');
    let fits = |written: &str| {
        word.strip_prefix(written).is_some_and(|rest| is_sure(written, gap, rest))
            && !(hyphened && written.len() < 2)
    };
    let (written, one, many, tail) =
        UNITS.iter().filter(|(written, ..)| fits(written)).max_by_key(|(written, ..)| written.len())?;
    // A 5-km run.
    let many = if hyphened { one } else { many };
    Some((gap + written.len(), Name { one, many, tail }))
}
