//! Claims about what index parameters mean.

use super::*;

fn parse(pairs: &[(&str, &str)]) -> Result<IndexSpec, String> {
    IndexSpec::parse(pairs.iter().copied()).map_err(|error| error.to_string())
}

#[test]
fn parameters_come_flat_or_as_json() {
    let flat = [("index_type", "HNSW"), ("metric_type", "IP"), ("M", "16"), ("efConstruction", "200")];
    let nested =
        [("index_type", "HNSW"), ("metric_type", "IP"), ("params", r#"{"M":16,"efConstruction":"200"}"#)];

    assert_eq!(parse(&flat), Ok(IndexSpec::hnsw(Metric::Ip, 16, 200)));
    assert_eq!(parse(&nested), parse(&flat));
}

#[test]
fn the_codes_of_a_graph_are_named() {
    let width = |sq_type| {
        parse(&[("index_type", "HNSW_SQ"), ("metric_type", "IP"), ("sq_type", sq_type)])
            .map(|spec| spec.width)
    };

    assert_eq!(
        ["SQ4U", "sq6", "SQ8", "BF16", "fp16"].map(width),
        [Ok(Width::Measured), Ok(Width::Byte), Ok(Width::Byte), Ok(Width::Byte), Ok(Width::Byte)]
    );
    for index_type in IndexType::ALL.into_iter().filter(|known| known.is_dense()) {
        let spec = parse(&[("index_type", index_type.name()), ("metric_type", "IP")]).unwrap();
        assert_eq!((spec.index_type, spec.metric), (index_type, Metric::Ip));
    }
}

#[test]
fn binary_and_sparse_vectors_have_types_of_their_own() {
    type Wanted<'a> = Result<(IndexType, Metric, usize, Algorithm), &'a str>;
    let (bits, sparse) = (DataType::BinaryVector, DataType::SparseFloatVector);
    let wanted =
        |index_type, metric, nlist, algorithm| -> Wanted<'_> { Ok((index_type, metric, nlist, algorithm)) };
    let (max_score, inverted) = (Algorithm::MaxScore, IndexType::SparseInverted);
    let cases: [(DataType, &[(&str, &str)], Wanted<'_>); 14] = [
        (bits, &[], wanted(IndexType::BinFlat, Metric::Hamming, 128, max_score)),
        (bits, &[("metric_type", "JACCARD")], wanted(IndexType::BinFlat, Metric::Jaccard, 128, max_score)),
        (
            bits,
            &[("index_type", "BIN_IVF_FLAT"), ("metric_type", "HAMMING"), ("nlist", "7")],
            wanted(IndexType::BinIvfFlat, Metric::Hamming, 7, max_score),
        ),
        (
            bits,
            &[("index_type", "BIN_FLAT"), ("metric_type", "L2")],
            Err("binary vector index does not support metric type: L2"),
        ),
        (
            bits,
            &[("index_type", "HNSW"), ("metric_type", "HAMMING")],
            Err("data type BinaryVector can't build with this index HNSW"),
        ),
        (
            bits,
            &[("index_type", "MINHASH_LSH"), ("metric_type", "MHJACCARD"), ("mh_lsh_band", "8")],
            wanted(IndexType::BinFlat, Metric::MhJaccard, 128, max_score),
        ),
        (sparse, &[], wanted(inverted, Metric::Ip, 128, max_score)),
        (
            sparse,
            &[("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "IP"), ("drop_ratio_build", "0.2")],
            wanted(inverted, Metric::Ip, 128, max_score),
        ),
        (
            sparse,
            &[
                ("index_type", "SPARSE_INVERTED_INDEX"),
                ("metric_type", "IP"),
                ("inverted_index_algo", "TAAT_NAIVE"),
            ],
            wanted(inverted, Metric::Ip, 128, Algorithm::Naive),
        ),
        (
            sparse,
            &[("index_type", "SPARSE_WAND"), ("metric_type", "IP")],
            wanted(IndexType::SparseWand, Metric::Ip, 128, Algorithm::Wand),
        ),
        (
            sparse,
            &[("index_type", "SPARSE_WAND"), ("metric_type", "COSINE")],
            Err("only IP&BM25 is the supported metric type for sparse index"),
        ),
        (
            sparse,
            &[("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "IP"), ("inverted_index_algo", "x")],
            Err("sparse inverted index algo x not found or not supported"),
        ),
        (
            sparse,
            &[("index_type", "SPARSE_WAND"), ("metric_type", "IP"), ("drop_ratio_build", "1")],
            Err("Out of range in json: param 'drop_ratio_build' (1) should be in range [0.000000, 1.000000)"),
        ),
        (
            DataType::FloatVector,
            &[("index_type", "BIN_FLAT"), ("metric_type", "L2")],
            Err("data type FloatVector can't build with this index BIN_FLAT"),
        ),
    ];
    for (data_type, pairs, wanted) in cases {
        let found = IndexSpec::parse_for(data_type, pairs.iter().copied())
            .map(|spec| (spec.index_type, spec.metric, spec.nlist, spec.algorithm))
            .map_err(|error| error.to_string());
        assert_eq!(found, wanted.map_err(str::to_owned), "{pairs:?}");
    }
}

#[test]
fn unknown_parameters_are_kept() {
    let spec =
        parse(&[("index_type", "FLAT"), ("metric_type", "L2"), ("nlist", "x"), ("mmap.enabled", "true")]);

    let others = [("nlist", "x"), ("mmap.enabled", "true")].map(|(key, value)| (key.into(), value.into()));
    assert_eq!(spec, Ok(IndexSpec { others: others.into(), ..IndexSpec::flat(Metric::L2) }));
}

#[test]
fn autoindex_is_a_graph_of_its_own_choice() {
    assert_eq!(parse(&[]), Ok(IndexSpec::auto(Metric::Cosine)));
    assert_eq!(parse(&[("index_type", "AUTOINDEX"), ("metric_type", "L2")]), Ok(IndexSpec::auto(Metric::L2)));
    assert_eq!(
        parse(&[("index_type", "AUTOINDEX"), ("M", "8")]),
        Err("only metric type can be passed when use AutoIndex".to_owned())
    );
}

#[test]
fn refusals_are_in_milvus_words() {
    let cases: [(&[(&str, &str)], &str); 17] = [
        (
            &[("index_type", "NOPE"), ("metric_type", "IP")],
            "invalid parameter[expected=valid index][actual=invalid index type: NOPE]",
        ),
        (
            &[("index_type", "hnsw"), ("metric_type", "IP")],
            "invalid parameter[expected=valid index][actual=invalid index type: hnsw]",
        ),
        (&[("index_type", "GPU_CAGRA"), ("metric_type", "IP")], "index type not supported: GPU_CAGRA"),
        (
            &[("index_type", "DISKANN"), ("metric_type", "IP"), ("max_degree", "2049")],
            "Out of range in json: param 'max_degree' (2049) should be in range [1, 2048]",
        ),
        (&[("index_type", "HNSW")], "metric type not set for vector index"),
        (
            &[("index_type", "HNSW"), ("metric_type", "HAMMING")],
            "float vector index does not support metric type: HAMMING",
        ),
        (
            &[("index_type", "HNSW"), ("metric_type", "IP"), ("M", "-1")],
            "param 'M' (-1) should be in range [2, 2048]",
        ),
        (
            &[("index_type", "HNSW"), ("metric_type", "IP"), ("M", "True")],
            "invalid integer value, key: 'M', value: 'True': invalid parameter",
        ),
        (
            &[("index_type", "HNSW"), ("metric_type", "IP"), ("M", "16.0")],
            "wrong data type in json, key: 'M', value: '16.0'",
        ),
        (
            &[("index_type", "HNSW"), ("metric_type", "IP"), ("efConstruction", "0")],
            "param 'efConstruction' (0) should be in range [1, 2147483647]",
        ),
        (
            &[("index_type", "IVF_FLAT"), ("metric_type", "IP"), ("nlist", "65537")],
            "Out of range in json: param 'nlist' (65537) should be in range [1, 65536]",
        ),
        (
            &[("index_type", "HNSW_SQ"), ("metric_type", "IP"), ("sq_type", "SQ5")],
            "invalid scalar quantizer type",
        ),
        (
            &[("index_type", "HNSW_SQ"), ("metric_type", "IP"), ("refine_type", "x")],
            "invalid refine type : x, optional types are [sq4u, sq6, sq8, fp16, bf16, fp32, flat]",
        ),
        (
            &[("index_type", "HNSW_SQ"), ("metric_type", "IP"), ("refine", "1")],
            "Type conflict in json: param 'refine' (\"1\") should be a boolean: invalid parameter",
        ),
        (
            &[("index_type", "HNSW_PRQ"), ("metric_type", "IP"), ("nrq", "17")],
            "Out of range in json: param 'nrq' (17) should be in range [1, 16]",
        ),
        (
            &[("index_type", "HNSW_PQ"), ("metric_type", "IP"), ("nbits", "25")],
            "Out of range in json: param 'nbits' (25) should be in range [1, 24]",
        ),
        (
            &[("index_type", "IVF_PQ"), ("metric_type", "IP"), ("m", "16.0")],
            "wrong data type in json, key: 'm', value: '16.0'",
        ),
    ];
    for (pairs, text) in cases {
        assert_eq!(parse(pairs), Err(text.to_owned()), "{pairs:?}");
    }
}

#[test]
fn other_names_of_milvus_are_answered_by_a_type_of_ours() {
    let found = |name| {
        let pairs =
            [("index_type", name), ("metric_type", "L2"), ("max_degree", "32"), ("search_list_size", "90")];
        parse(&pairs).map(|spec| (spec.index_type, spec.m, spec.ef_construction))
    };

    assert_eq!(found("DISKANN"), Ok((IndexType::DiskAnn, 16, 90)));
    assert_eq!(found("AISAQ"), Ok((IndexType::DiskAnn, 16, 90)));
    assert_eq!(found("SVS_FLAT").map(|found| found.0), Ok(IndexType::Flat));
    assert_eq!(found("SVS_VAMANA_LVQ"), Ok((IndexType::Hnsw, 30, 360)));
}

#[test]
fn a_name_by_parts_says_what_is_built() {
    let spec = |data_type: DataType, name: &str, metric: &str| {
        let pairs = [("index_type", "FAISS"), ("metric_type", metric), ("faiss_index_name", name)];
        IndexSpec::parse_for(data_type, pairs).map(|spec| (spec.index_type, spec.nlist, spec.m)).unwrap()
    };
    let (dense, bits) = (DataType::FloatVector, DataType::BinaryVector);

    assert_eq!(spec(dense, "OPQ16,IVF64,PQ16x4", "L2"), (IndexType::IvfFlat, 64, DEFAULT_M));
    assert_eq!(spec(dense, "HNSW16,Flat", "IP"), (IndexType::Hnsw, DEFAULT_NLIST, 16));
    assert_eq!(spec(dense, "PQ8x4", "L2"), (IndexType::Flat, DEFAULT_NLIST, DEFAULT_M));
    assert_eq!(spec(bits, "BFlat", "HAMMING"), (IndexType::BinFlat, DEFAULT_NLIST, DEFAULT_M));
    assert_eq!(spec(bits, "BIVF32", "HAMMING"), (IndexType::BinIvfFlat, 32, DEFAULT_M));
}

#[test]
fn lists_of_sparse_vectors_are_searched_as_their_algorithm_says() {
    let spec = |pairs: &[(&str, &str)]| {
        let pairs =
            [("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "IP")].iter().chain(pairs).copied();
        let spec = IndexSpec::parse_for(DataType::SparseFloatVector, pairs);
        spec.map(|spec| (spec.algorithm, spec.window)).map_err(|error| error.to_string())
    };
    let algorithm = |name| spec(&[("inverted_index_algo", name)]);
    let window = |rows| spec(&[("inverted_index_algo", "SINDI"), ("params", rows)]);

    assert_eq!(algorithm("DAAT_MAXSCORE"), Ok((Algorithm::MaxScore, DEFAULT_WINDOW)));
    assert_eq!(algorithm("DAAT_WAND"), Ok((Algorithm::Wand, DEFAULT_WINDOW)));
    assert_eq!(algorithm("TAAT_NAIVE"), Ok((Algorithm::Naive, DEFAULT_WINDOW)));
    // What knows of blocks of lists finds what the one without finds.
    assert_eq!(algorithm("BLOCK_MAX_MAXSCORE"), Ok((Algorithm::MaxScore, DEFAULT_WINDOW)));
    assert_eq!(algorithm("BLOCK_MAX_WAND"), Ok((Algorithm::Wand, DEFAULT_WINDOW)));
    assert_eq!(algorithm("SINDI"), Ok((Algorithm::Sindi, DEFAULT_WINDOW)));
    assert_eq!(window(r#"{"sindi_window_size": 4096}"#), Ok((Algorithm::Sindi, 4096)));
    let refused = "Out of range in json: param 'sindi_window_size' (512) should be in range [1024, 65535]";
    assert_eq!(window(r#"{"sindi_window_size": "512"}"#), Err(refused.to_owned()));
}

#[test]
fn a_window_is_read_only_where_there_are_windows() {
    let parse = |algorithm: &str, window: &str| {
        let given = [
            ("index_type", "SPARSE_INVERTED_INDEX"),
            ("metric_type", "IP"),
            ("inverted_index_algo", algorithm),
            ("sindi_window_size", window),
        ];
        IndexSpec::parse_for(DataType::SparseFloatVector, given).map(|spec| spec.algorithm).ok()
    };

    assert_eq!(["512", "x"].map(|window| parse("DAAT_MAXSCORE", window)), [Some(Algorithm::MaxScore); 2]);
    assert_eq!(
        ["512", "x", "4096"].map(|window| parse("SINDI", window)),
        [None, None, Some(Algorithm::Sindi)]
    );
}

#[test]
fn of_contradicting_parameters_the_one_said_by_itself_holds_and_the_first() {
    let pairs = [
        ("params", r#"{"M": 8, "efConstruction": 50}"#),
        ("index_type", "HNSW"),
        ("metric_type", "IP"),
        ("M", "16"),
        ("M", "17"),
        ("params", r#"{"efConstruction": 60}"#),
    ];
    let owned: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let named = |key| crate::model::index_param(&owned, key);

    assert_eq!(parse(&pairs), Ok(IndexSpec::hnsw(Metric::Ip, 16, 50)));
    assert_eq!((named("M"), named("efConstruction")), (Some("16".to_owned()), Some("50".to_owned())));
}
