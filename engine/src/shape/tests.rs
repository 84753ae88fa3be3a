use proptest::prelude::*;

use super::globe::metres_to_edge_of;
use super::*;

fn bytes(text: &str) -> Vec<u8> {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn shape(text: &str) -> Shape {
    Shape::read(&bytes(text)).unwrap()
}

fn holds(relation: Relation, first: &str, second: &str) -> bool {
    shape(second).prepared(relation).holds(relation, &bytes(first))
}

#[test]
fn shapes_come_back_in_one_form() {
    let cases = [
        ("POINT (30.123 -10.456)", "POINT (30.123 -10.456)"),
        ("point(1 2)", "POINT (1 2)"),
        ("POINT EMPTY", "POINT EMPTY"),
        ("POINT Z (1 2 3)", "POINT Z (1 2 3)"),
        ("POINTZM(1 2 3 4)", "POINT ZM (1 2 3 4)"),
        ("POINT M (1 2 3)", "POINT M (1 2 3)"),
        (" LINESTRING(-0 1e2,.5 +2.50 ) ", "LINESTRING (0 100, 0.5 2.5)"),
        (
            "POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))",
            "POLYGON ((0 0, 4 0, 4 4, 0 0), (1 1, 2 1, 2 2, 1 1))",
        ),
        ("POINT (1e-300 -1e70)", "POINT (1e-300 -1e70)"),
        ("MULTIPOINT(1 1, 2 2)", "MULTIPOINT ((1 1), (2 2))"),
        ("MULTIPOINT ((1 1), EMPTY)", "MULTIPOINT ((1 1), EMPTY)"),
        ("MULTILINESTRING ((1 1, 3 3), EMPTY)", "MULTILINESTRING ((1 1, 3 3), EMPTY)"),
        ("MultiPolygon (((0 0, 1 0, 1 1, 0 0)))", "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"),
        (
            "GEOMETRYCOLLECTION(POINT(1 2),GEOMETRYCOLLECTION EMPTY,LINESTRING(0 0,1 1))",
            "GEOMETRYCOLLECTION (POINT (1 2), GEOMETRYCOLLECTION EMPTY, LINESTRING (0 0, 1 1))",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(to_text(&bytes(text)).as_deref(), Some(expected));
        assert_eq!(bytes(expected), bytes(text));
    }
}

#[test]
fn bytes_are_as_the_standard_has_them() {
    let expected = [b"\x01\xeb\x03\0\0\x01\0\0\0\x04\0\0\0".as_slice(), &[0; 24 * 4]].concat();
    assert_eq!(bytes("POLYGON Z ((0 0 0, 0 0 0, 0 0 0, 0 0 0))"), expected);
}

#[test]
fn texts_that_are_no_shapes_are_refused() {
    let cases = [
        ("", "cannot parse WKT: '' is no type of geometry"),
        ("INVALID_WKT_FORMAT", "cannot parse WKT: 'INVALID_WKT_FORMAT' is no type of geometry"),
        ("POINT", "cannot parse WKT: expected '(', found ''"),
        ("POINT (1 2", "cannot parse WKT: expected ')', found ''"),
        ("POINT (1 2) x", "cannot parse WKT: expected the end, found 'x'"),
        ("POINT (1 2 3)", "cannot parse WKT: expected ')', found '3'"),
        ("POINT (INVALID COORDINATES)", "invalid coordinate 'INVALID' in WKT"),
        ("POINT (1)", "invalid coordinate '' in WKT"),
        ("POINT (nan 1)", "invalid coordinate 'nan' in WKT"),
        ("POINT (1e71 1)", "invalid coordinate '1e71' in WKT"),
        ("LINESTRING (1 1)", "invalid WKT: a LINESTRING needs at least 2 points"),
        (
            "POLYGON ((0 0, 10 0, 10 10))",
            "invalid WKT: each ring of a POLYGON needs at least 4 points and must be closed: its last point is its first",
        ),
        (
            "POLYGON ((0 0, 10 0, 10 10, 0 1))",
            "invalid WKT: each ring of a POLYGON needs at least 4 points and must be closed: its last point is its first",
        ),
        ("SRID=4326;POINT (1 2)", "cannot parse WKT: 'SRID=4326;POINT' is no type of geometry"),
        ("LINEARRING (0 0, 1 0, 1 1, 0 0)", "cannot parse WKT: 'LINEARRING' is no type of geometry"),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).unwrap_err().to_string(), expected);
    }
    let long = |points: usize| format!("LINESTRING (0 0{})", ", 1 1".repeat(points - 1));
    assert!(parse(&long(MOST_POINTS)).is_ok());
    assert_eq!(parse(&long(MOST_POINTS + 1)), Err(Error::Points { limit: MOST_POINTS }));
    assert!(parse_given(&long(MOST_POINTS_GIVEN)).is_ok());
    let refused = parse_given(&long(MOST_POINTS_GIVEN + 1)).unwrap_err().to_string();
    assert_eq!(refused, "invalid WKT: a geometry has at most 2048 points");
    let deep = format!("{}POINT (1 1){}", "GEOMETRYCOLLECTION (".repeat(17), ")".repeat(17));
    assert_eq!(parse(&deep), Err(Error::Depth { limit: 16 }));
}

#[test]
fn relations_are_those_of_simple_features() {
    use Relation::{Contains, Crosses, Equals, Intersects, Overlaps, Touches, Within};
    const SQUARE: &str = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))";
    let cases: [(&str, &[Relation]); 17] = [
        ("POINT (5 5)", &[Intersects, Within]),
        ("POINT (0 0)", &[Intersects, Touches]),
        ("POINT (15 15)", &[]),
        ("LINESTRING (0 0, 15 15)", &[Intersects, Crosses]),
        ("LINESTRING (2 2, 8 8)", &[Intersects, Within]),
        ("LINESTRING (10 0, 10 10)", &[Intersects, Touches]),
        ("LINESTRING (12 12, 18 18)", &[]),
        ("POLYGON ((8 8, 15 8, 15 15, 8 15, 8 8))", &[Intersects, Overlaps]),
        ("POLYGON ((2 2, 8 2, 8 8, 2 8, 2 2))", &[Intersects, Within]),
        ("POLYGON ((10 0, 20 0, 20 10, 10 10, 10 0))", &[Intersects, Touches]),
        ("POLYGON ((-1 -1, 11 -1, 11 11, -1 11, -1 -1))", &[Intersects, Contains]),
        ("POLYGON ((10 10, 0 10, 0 0, 10 0, 10 10))", &[Intersects, Equals, Contains, Within]),
        ("POLYGON ((-5 -5, 15 -5, 15 15, -5 15, -5 -5), (-1 -1, 11 -1, 11 11, -1 11, -1 -1))", &[]),
        ("MULTIPOINT ((3 3), (7 7))", &[Intersects, Within]),
        ("MULTIPOINT ((5 5), (15 15))", &[Intersects, Crosses]),
        ("GEOMETRYCOLLECTION (POINT (5 5), POINT (20 20))", &[Intersects, Crosses]),
        ("POINT EMPTY", &[]),
    ];
    for (text, expected) in cases {
        for (name, relation) in Relation::ALL {
            assert_eq!(holds(relation, text, SQUARE), expected.contains(&relation), "{name}({text})");
        }
    }
    assert!(holds(Equals, "POINT (5 5)", "POINT (5 5)"));
    assert!(holds(Crosses, "LINESTRING (0 0, 2 2)", "LINESTRING (0 2, 2 0)"));
    assert!(holds(Contains, SQUARE, "POINT (5 5)") && !holds(Contains, SQUARE, "POINT (0 5)"));
    assert!(holds(Overlaps, "LINESTRING (0 0, 5 0)", "LINESTRING (3 0, 9 0)"));
}

#[test]
fn shapes_that_break_the_rules_are_known() {
    let sound = [
        "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (1 1, 4 1, 4 4, 1 4, 1 1), (5 5, 6 5, 6 6, 5 5))",
        "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (0 0, 4 1, 1 4, 0 0))",
        "POLYGON ((0 0, 5 0, 10 0, 10 0, 10 10, 0 10, 0 0))",
        "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 4, 0 0)), ((4 4, 8 4, 8 8, 4 8, 4 4)))",
        "MULTIPOLYGON (((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 8 1, 8 8, 1 8, 1 1)), ((2 2, 7 2, 7 7, 2 7, 2 2)))",
        "LINESTRING (0 0, 4 4, 4 0, 0 4)",
        "POINT (1 1)",
        "POLYGON EMPTY",
        "GEOMETRYCOLLECTION (POINT (9 9), LINESTRING (0 0, 1 1))",
    ];
    let broken = [
        "POLYGON ((0 0, 10 10, 10 0, 0 10, 0 0))",
        "POLYGON ((0 0, 10 0, 5 0, 10 10, 0 0))",
        "POLYGON ((0 0, 4 0, 0 0, 4 0, 0 0))",
        "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (11 11, 12 11, 12 12, 11 11))",
        "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (1 1, 8 1, 8 8, 1 8, 1 1), (2 2, 3 2, 3 3, 2 2))",
        "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0), (0 0, 10 0, 5 5, 0 0))",
        "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 4, 0 0)), ((3 3, 8 3, 8 8, 3 8, 3 3)))",
        "MULTIPOLYGON (((0 0, 9 0, 9 9, 0 9, 0 0)), ((2 2, 7 2, 7 7, 2 7, 2 2)))",
        "LINESTRING (1 1, 1 1)",
    ];
    for text in sound {
        assert!(shape(text).is_sound(), "{text}");
    }
    for text in broken {
        assert!(!shape(text).is_sound(), "{text}");
    }
    const BOW: &str = "POLYGON ((0 0, 10 10, 10 0, 0 10, 0 0))";
    assert!(holds(Relation::Intersects, "POINT (9 5)", BOW));
    assert!(holds(Relation::Equals, BOW, BOW));
    assert!(!holds(Relation::Within, "POINT (9 5)", BOW));
}

/// A ring of many edges of which each lies beside all others: to look at every pair would take seconds.
#[test]
fn the_look_at_pairs_of_edges_ends() {
    let teeth = |count: usize| {
        let mut points = vec![(0.0, 0.0)];
        for tooth in 0..count {
            let x = tooth as f64;
            points.extend([(x + 1e6, 1e6), (x + 0.5 + 1e6, 1e6), (x + 0.5, 0.0), (x + 1.0, 0.0)]);
        }
        points.extend([(count as f64, -1.0), (0.0, -1.0)]);
        shape(&format!("POLYGON ({})", ring(points)))
    };
    assert!(teeth(200).is_sound());
    assert!(!teeth(2000).is_sound());
}

#[test]
fn lines_that_meet_all_too_often_are_taken_to_break_the_rules() {
    // Every edge from left to right meets every one before it.
    let zigzag = |edges: usize| {
        let points = (0..=edges).map(|at| format!("{} {}", (at % 2) * 1_000, (at * 7_919) % 1_000));
        format!("LINESTRING ({})", points.collect::<Vec<_>>().join(", "))
    };
    let collection = format!("GEOMETRYCOLLECTION ({})", [zigzag(60), zigzag(2_000)].join(", "));

    assert!(shape(&zigzag(60)).is_sound());
    assert!(!shape(&zigzag(2_000)).is_sound());
    assert!(!shape(&collection).is_sound());
    assert!(holds(Relation::Intersects, &zigzag(2_000), "POINT (0 0)"), "meeting is told all the same");
}

#[test]
fn the_deepest_shapes_have_bounds_whatever_they_end_in() {
    for inner in [
        "POINT (1 1)",
        "MULTIPOINT ((1 1))",
        "MULTILINESTRING ((1 1, 2 2))",
        "MULTIPOLYGON (((1 1, 2 1, 2 2, 1 1)))",
    ] {
        let text = format!("{}{inner}{}", "GEOMETRYCOLLECTION (".repeat(DEEPEST), ")".repeat(DEEPEST));
        let bytes = bytes(&text);

        assert_eq!(bounds(&bytes).map(|bounds| bounds.least), Some([1.0, 1.0]), "{inner}");
        assert!(holds(Relation::Equals, &text, &text), "{inner}");
        assert_eq!(to_text(&bytes).as_deref(), Some(text.as_str()));
    }
}

#[test]
fn distances_are_metres_on_the_globe() {
    let near = |text: &str, center: [f64; 2], metres: f64| Near { center, metres }.holds(&bytes(text));
    // A degree of the equator, and of a meridian.
    assert!(near("POINT (1 0)", [0.0, 0.0], 111_195.0) && !near("POINT (1 0)", [0.0, 0.0], 111_194.0));
    assert!(near("POINT (0 60)", [0.0, 61.0], 111_195.0) && !near("POINT (0 60)", [0.0, 61.0], 111_194.0));
    assert!(near("POINT (180 10)", [-180.0, 10.0], 0.001));
    assert!(near("LINESTRING (-1 0, 1 0)", [0.0, 1.0], 111_195.0));
    assert!(!near("LINESTRING (-1 0, 1 0)", [0.0, 1.0], 111_194.0));
    assert!(near("POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))", [5.0, 5.0], 0.0));
    assert!(!near("POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))", [10.0001, 5.0], 1.0));
    assert!(near("MULTIPOINT ((50 50), (0 0))", [0.0, 0.0], 0.0));
    assert!(!near("POINT EMPTY", [0.0, 0.0], 1e9));
}

/// Whole numbers of few, so that shapes touch each other.
fn coordinate() -> impl Strategy<Value = f64> {
    (-4_i32..5).prop_map(f64::from)
}

fn points(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((coordinate(), coordinate()), count)
}

fn list(points: &[(f64, f64)]) -> String {
    let texts: Vec<String> = points.iter().map(|(x, y)| format!("{x} {y}")).collect();
    format!("({})", texts.join(", "))
}

fn ring(mut points: Vec<(f64, f64)>) -> String {
    points.push(points[0]);
    list(&points)
}

fn any_shape() -> impl Strategy<Value = String> {
    let simple = prop_oneof![
        points(1).prop_map(|points| format!("POINT {}", list(&points))),
        points(2..6).prop_map(|points| format!("LINESTRING {}", list(&points))),
        points(3..6).prop_map(|points| format!("POLYGON ({})", ring(points))),
        (coordinate(), coordinate(), (1_i32..4).prop_map(f64::from)).prop_map(|(x, y, side)| {
            let (right, top) = (x + side, y + side);
            format!("POLYGON ({})", ring(vec![(x, y), (right, y), (right, top), (x, top)]))
        }),
        points(1..4).prop_map(|points| format!("MULTIPOINT {}", list(&points))),
        prop::collection::vec(points(2..4), 1..3).prop_map(|lines| {
            format!(
                "MULTILINESTRING ({})",
                lines.iter().map(|line| list(line)).collect::<Vec<_>>().join(", ")
            )
        }),
        prop::collection::vec(points(3..4), 1..3).prop_map(|rings| {
            let polygons: Vec<String> =
                rings.into_iter().map(|points| format!("({})", ring(points))).collect();
            format!("MULTIPOLYGON ({})", polygons.join(", "))
        }),
    ];
    let many = prop::collection::vec(simple, 1..3);
    many.prop_map(|mut all| match all.len() {
        1 => all.remove(0),
        _ => format!("GEOMETRYCOLLECTION ({})", all.join(", ")),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_shape_is_its_text_and_its_bytes(text in any_shape()) {
        let first = bytes(&text);
        let written = to_text(&first).unwrap();
        prop_assert_eq!(&bytes(&written), &first);
        let read = Shape::read(&first).unwrap();
        prop_assert_eq!(read.bounds().copied(), bounds(&first));
    }

    #[test]
    fn no_bytes_and_no_text_are_too_odd(
        text in any_shape(),
        noise in "[A-Z]{0,12} ?[Z (),0-9.e-]{0,24}|.{0,9}",
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let _ = parse(&noise);
        let mut damaged = bytes(&text);
        for (at, byte) in changes {
            let at = at.index(damaged.len());
            damaged[at] = byte;
        }
        let _ = (to_text(&damaged), bounds(&damaged));
    }

    /// What the relations have to do with each other, whatever the shapes: a second opinion on each.
    #[test]
    fn relations_agree_with_each_other(first in any_shape(), second in any_shape()) {
        use Relation::{Contains, Crosses, Equals, Intersects, Overlaps, Touches, Within};
        let is = |relation| holds(relation, &first, &second);
        let back = |relation| holds(relation, &second, &first);
        prop_assert_eq!(is(Within), back(Contains));
        prop_assert_eq!(is(Contains), back(Within));
        for relation in [Equals, Touches, Overlaps, Crosses, Intersects] {
            prop_assert_eq!(is(relation), back(relation), "{:?}", relation);
        }
        for relation in [Equals, Touches, Overlaps, Crosses, Contains, Within] {
            prop_assert!(!is(relation) || is(Intersects), "{:?}", relation);
        }
        let kinds = [is(Touches), is(Overlaps), is(Crosses), is(Contains) || is(Within) || is(Equals)];
        prop_assert!(kinds.into_iter().filter(|kind| *kind).count() <= 1, "{:?}", kinds);
        if shape(&first).is_sound() && shape(&second).is_sound() {
            prop_assert_eq!(is(Intersects), kinds.contains(&true));
            prop_assert_eq!(is(Equals), is(Contains) && is(Within));
        }
        prop_assert!(holds(Equals, &first, &first));
    }

    /// Points against squares and rings, by a count of edges.
    #[test]
    fn points_in_rings_are_those_that_a_count_of_edges_finds(
        corners in points(3..7),
        (x, y) in (-41_i32..51, -41_i32..51).prop_map(|(x, y)| (f64::from(x) / 10.0 + 0.05, f64::from(y) / 10.0 + 0.03)),
    ) {
        let text = format!("POLYGON ({})", ring(corners.clone()));
        let mut inside = false;
        for (at, (ax, ay)) in corners.iter().enumerate() {
            let (bx, by) = corners[(at + 1) % corners.len()];
            if (*ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax {
                inside = !inside;
            }
        }
        if shape(&text).is_sound() {
            let found = holds(Relation::Within, &format!("POINT ({x} {y})"), &text);
            let on = holds(Relation::Touches, &format!("POINT ({x} {y})"), &text);
            prop_assert!(found == inside || on, "{text} {x} {y}");
        }
    }

    /// The distance to a way is about the least of those to many points of it, and always a number.
    #[test]
    fn the_distance_to_a_way_is_that_to_its_nearest_point(
        place in (-180.0..180.0_f64, -89.0..89.0_f64),
        start in (-180.0..180.0_f64, -80.0..80.0_f64),
        (dx, dy) in prop_oneof![(-5.0..5.0_f64, -5.0..5.0_f64), Just((0.0, 0.0)), Just((1e-9, -1e-9)), Just((180.0, 0.0))],
    ) {
        let (place, start, end) = ([place.0, place.1], [start.0, start.1], [start.0 + dx, start.1 + dy]);
        let found = metres_to_edge_of(place, start, end);
        prop_assert!(found.is_finite() && found >= 0.0);
        prop_assert!(metres_to_edge_of(start, start, end) < 0.01);
        let ends = metres_to_edge_of(place, start, start).min(metres_to_edge_of(place, end, end));
        prop_assert!(found <= ends + 1e-6);
    }

    #[test]
    fn boxes_around_a_place_have_all_that_is_near(
        center in (-180.0..=180.0_f64, -90.0..=90.0_f64),
        metres in prop_oneof![0.0..1000.0_f64, 0.0..1e6, 0.0..2.1e7],
        away in (-1.0..1.0_f64, -1.0..1.0_f64),
    ) {
        let near = Near { center: [center.0, center.1], metres };
        let degrees = (metres / 111_000.0).min(180.0);
        let x = (center.0 + away.0 * degrees * 3.0 + 540.0).rem_euclid(360.0) - 180.0;
        let y = (center.1 + away.1 * degrees * 1.1).clamp(-90.0, 90.0);
        let point = bytes(&format!("POINT ({x} {y})"));
        if near.holds(&point)
            && let Some(boxes) = near.bounds()
        {
            let found = bounds(&point).unwrap();
            prop_assert!(boxes.0.iter().any(|one| one.meets(&found)), "{x} {y} {boxes:?}");
        }
    }
}
