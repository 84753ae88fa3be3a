//! Sizes as Kubernetes writes them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const SUFFIXES: [(&str, f64); 12] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("m", 0.001),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
];

/// The size in bytes, near enough to compare two; `None` if it is no quantity.
pub(super) fn bytes(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.trim();
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor)))
        .unwrap_or((text, 1.0));
    number.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0).map(|value| value * factor)
}

/// Processors, as a limit or a request says them; `None` if it is no quantity.
pub(super) fn processors(quantity: &Quantity) -> Option<f64> {
    bytes(quantity)
}

/// The larger of two sizes; `first` if they cannot be compared.
pub(super) fn larger(first: Quantity, second: Quantity) -> Quantity {
    match (bytes(&first), bytes(&second)) {
        (Some(one), Some(other)) if other > one => second,
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_compare_across_units() {
        let size = |text: &str| Quantity(text.into());

        assert_eq!(larger(size("5Gi"), size("5000Mi")), size("5Gi"));
        assert_eq!(larger(size("5G"), size("5Gi")), size("5Gi"));
        assert_eq!(larger(size("1e9"), size("2G")), size("2G"));
    }
}
