//! Every SIMD form against its scalar twin.

use proptest::prelude::*;

use super::{AlignedBytes, Kernels};

fn close(left: f32, right: f32, scale: f32) -> bool {
    (left - right).abs() <= 1e-5 * scale.max(1.0)
}

fn floats(count: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-10.0f32..10.0, count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_float_form_agrees_with_the_scalar_one(
        (dim, query, matrix, picks) in (1usize..200, 0usize..9).prop_flat_map(|(dim, rows)| {
            let picks = prop::collection::vec(0..rows.max(1) as u32, if rows == 0 { 0 } else { 12 });
            (Just(dim), floats(dim), floats(dim * rows), picks)
        })
    ) {
        let forms = Kernels::available();
        let run = |kernels: &Kernels| {
            let mut answers = Vec::new();
            let mut out = Vec::new();
            kernels.dot_rows(&query, &matrix, &mut out);
            answers.append(&mut out);
            kernels.l2_rows(&query, &matrix, &mut out);
            answers.append(&mut out);
            kernels.dot_gather(&query, &matrix, &picks, &mut out);
            answers.append(&mut out);
            kernels.l2_gather(&query, &matrix, &picks, &mut out);
            answers.append(&mut out);
            let half: Vec<f32> = query.iter().map(|value| value / 2.0).collect();
            kernels.dot_tile([&query, &half, &query, &half], &matrix, &mut out);
            answers.append(&mut out);
            kernels.l2_tile([&query, &half, &query, &half], &matrix, &mut out);
            answers.append(&mut out);
            answers.push(kernels.dot(&query, &half));
            answers.push(kernels.l2(&query, &half));
            answers
        };
        let expected = run(&forms[0]);
        for kernels in &forms[1..] {
            let answers = run(kernels);
            prop_assert_eq!(answers.len(), expected.len());
            for (answer, wanted) in answers.iter().zip(&expected) {
                prop_assert!(close(*answer, *wanted, dim as f32 * 100.0), "{:?}: {answer} for {wanted}", kernels);
            }
        }
    }

    #[test]
    fn every_code_form_agrees_with_the_scalar_one(
        (high, low, codes, picks) in (1usize..5, 1usize..9).prop_flat_map(|(lines, rows)| (
            prop::collection::vec(-127i8..=127, lines * 64),
            prop::collection::vec(-64i8..=63, lines * 64),
            prop::collection::vec(any::<u8>(), lines * 64 * rows),
            prop::collection::vec(0..rows as u32, 12),
        ))
    ) {
        let mut matrix = AlignedBytes::zeros(codes.len());
        matrix.as_mut_slice().copy_from_slice(&codes);
        let rows = codes.len() / high.len();
        let run = |kernels: &Kernels| {
            let (mut gathered, mut scanned) = (Vec::new(), Vec::new());
            kernels.code_gather(&high, &low, &matrix, &picks, &mut gathered);
            kernels.code_rows(&high, &low, &matrix, 1, rows, &mut scanned);
            gathered.append(&mut scanned);
            gathered
        };
        let forms = Kernels::available();
        let expected = run(&forms[0]);
        for kernels in &forms[1..] {
            let answers = run(kernels);
            prop_assert_eq!(answers.len(), expected.len());
            for (answer, wanted) in answers.iter().zip(&expected) {
                // Sums stay below 2 to the 32nd, of which a float holds the upper 24 bits.
                prop_assert!((answer - wanted).abs() <= 4096.0, "{:?}: {answer} for {wanted}", kernels);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_narrow_form_gives_the_very_sum_of_the_scalar_one(
        (bytes, halves, codes, picks) in (1usize..6, 1usize..9).prop_flat_map(|(lines, rows)| (
            prop::collection::vec(-127i8..=127, lines * 64),
            prop::collection::vec(-127i8..=127, lines * 128),
            prop::collection::vec(any::<u8>(), lines * 64 * rows),
            prop::collection::vec(0..rows as u32, 0..14),
        ))
    ) {
        let mut matrix = AlignedBytes::zeros(codes.len());
        matrix.as_mut_slice().copy_from_slice(&codes);
        let run = |kernels: &Kernels| {
            let (mut whole, mut half) = (Vec::new(), Vec::new());
            kernels.byte_gather(&bytes, &matrix, &picks, &mut whole);
            kernels.nibble_gather(&halves, &matrix, &picks, &mut half);
            (whole, half)
        };
        let forms = Kernels::available();
        let expected = run(&forms[0]);
        prop_assert_eq!(expected.0.len(), picks.len());
        for kernels in &forms[1..] {
            prop_assert_eq!(run(kernels), expected.clone(), "{:?}", kernels);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_bit_form_gives_the_very_count_of_the_scalar_one(
        (query, matrix, picks) in (1usize..40, 1usize..9).prop_flat_map(|(words, rows)| (
            prop::collection::vec(any::<u64>(), words),
            prop::collection::vec(any::<u64>(), words * rows),
            prop::collection::vec(0..rows as u32, 0..12),
        ))
    ) {
        let run = |kernels: &Kernels| {
            let mut all = [const { Vec::new() }; 4];
            kernels.differing_rows(&query, &matrix, &mut all[0]);
            kernels.common_rows(&query, &matrix, &mut all[1]);
            kernels.differing_gather(&query, &matrix, &picks, &mut all[2]);
            kernels.common_gather(&query, &matrix, &picks, &mut all[3]);
            all
        };
        let forms = Kernels::available();
        let expected = run(&forms[0]);
        prop_assert_eq!((expected[0].len(), expected[2].len()), (matrix.len() / query.len(), picks.len()));
        for kernels in &forms[1..] {
            prop_assert_eq!(run(kernels), expected.clone(), "{:?}", kernels);
        }
    }
}

#[test]
fn bits_are_counted_as_a_child_would() {
    let scalar = Kernels::available()[0];
    let (query, rows) = ([0b1011, u64::MAX], [0b0110, 0, 0b1011, u64::MAX]);
    let (mut differing, mut common) = (Vec::new(), Vec::new());

    scalar.differing_rows(&query, &rows, &mut differing);
    scalar.common_gather(&query, &rows, &[1, 0], &mut common);

    assert_eq!((differing, common), (vec![67, 0], vec![67, 1]));
}

#[test]
fn narrow_sums_are_the_textbook_formula() {
    let mut codes = AlignedBytes::zeros(128);
    codes.as_mut_slice()[64..].copy_from_slice(&(0..64).map(|at| at * 4 + 3).collect::<Vec<u8>>());
    let weights: Vec<i8> = (0..128i32).map(|at| (at - 60) as i8).collect();
    let scalar = Kernels::available()[0];
    let (mut whole, mut half) = (Vec::new(), Vec::new());

    scalar.byte_gather(&weights[..64], &codes, &[1, 0], &mut whole);
    scalar.nibble_gather(&weights, &codes, &[1, 0], &mut half);

    let code = |at: i32| at * 4 + 3;
    let wanted: i32 = (0..64).map(|at| (at - 60) * code(at)).sum();
    assert_eq!(whole, [wanted as f32, 0.0]);
    let wanted: i32 = (0..64).map(|at| (at - 60) * (code(at) & 15) + (at + 4) * (code(at) >> 4)).sum();
    assert_eq!(half, [wanted as f32, 0.0]);
}

#[test]
fn the_scalar_form_is_the_textbook_formula() {
    let scalar = Kernels::available()[0];
    let (left, right): (Vec<f32>, Vec<f32>) = (0..19).map(|at| (at as f32, 1.0 - at as f32 / 2.0)).unzip();

    let dot: f32 = left.iter().zip(&right).map(|(left, right)| left * right).sum();
    let l2: f32 = left.iter().zip(&right).map(|(left, right)| (left - right).powi(2)).sum();

    assert_eq!(scalar.dot(&left, &right), dot);
    assert_eq!(scalar.l2(&left, &right), l2);
}

#[test]
fn rows_are_on_cache_lines() {
    let floats = super::AlignedFloats::zeros(100);
    let bytes = AlignedBytes::zeros(100);

    assert_eq!(floats.as_slice().as_ptr() as usize % 64, 0);
    assert_eq!(bytes.as_slice().as_ptr() as usize % 64, 0);
    assert_eq!((floats.as_slice().len(), bytes.as_slice().len()), (100, 100));
}
