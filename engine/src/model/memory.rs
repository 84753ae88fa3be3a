//! What segments take in memory once they are loaded, by their manifests and the definitions of their indexes.
//!
//! Estimates, by which segments are placed and admitted before anything of them is read; what they take in truth is counted
//! once they are there.

use super::{DataType, Field, IndexDefinition, IndexRef, Schema, SegmentManifest, boolean};
use crate::base::{FieldId, IndexId};

/// From this dimension on, codes are so much smaller than vectors that indexes have them.
pub const CODED_DIM: usize = 32;

/// Up to this dimension a row of half bytes takes as many cache lines as one of bytes.
pub const WHOLE_BYTES_DIM: usize = 64;

/// Links of a row per layer of an HNSW graph, unless named; the lowest layer has twice as many.
pub const DEFAULT_M: usize = 30;

/// The same of `AUTOINDEX` and `DISKANN`: what Milvus ships for it.
pub const AUTO_M: usize = 18;

/// Indexes that compare rows by codes and look at whole vectors for the last few only, as users of them expect: whole vectors
/// may lie on the disk.
const BY_CODES: [&str; 7] = ["IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ", "DISKANN"];

/// Whether the vectors of `field` may lie on the disk while they are searched, given the indexes of the collection. What the user
/// says holds, of the index (`mmap.enabled`) before the field (also `mmap_enabled`); else they do if their index compares codes.
#[must_use]
pub fn may_lie_on_disk(field: &Field, indexes: &[IndexDefinition]) -> bool {
    let is_dense = field.data_type.is_vector()
        && !matches!(field.data_type, DataType::BinaryVector | DataType::SparseFloatVector);
    if !is_dense {
        return false;
    }
    let of_field = || indexes.iter().filter(|index| index.field == field.id);
    let by_index = of_field().find_map(|index| boolean(&index.param("mmap.enabled")?));
    let by_field = || ["mmap.enabled", "mmap_enabled"].iter().find_map(|key| boolean(field.type_param(key)?));
    let is_coded =
        |index: &IndexDefinition| field.dim() >= CODED_DIM && BY_CODES.contains(&index.index_type.as_str());
    by_index.or_else(by_field).unwrap_or_else(|| of_field().any(is_coded))
}

/// Whether a search that uses the index reads single rows of the vectors, not all of some list of them.
#[must_use]
pub fn reads_single_rows(index: &IndexDefinition) -> bool {
    !matches!(index.index_type.as_str(), "FLAT" | "IVF_FLAT" | "SVS_FLAT" | "FAISS")
}

/// The fields of `schema` of which [`may_lie_on_disk`] says so.
#[must_use]
pub fn fields_on_disk(schema: &Schema, indexes: &[IndexDefinition]) -> Vec<FieldId> {
    let fields = schema.vectors().filter(|field| may_lie_on_disk(field, indexes));
    fields.map(|field| field.id).collect()
}

/// What segments of one collection take. Reads the definitions of its indexes once, however many segments are asked for.
#[derive(Debug)]
pub struct Needs<'a> {
    schema: &'a Schema,
    on_disk: &'a [FieldId],
    indexes: Vec<(IndexId, IndexNeeds)>,
}

impl<'a> Needs<'a> {
    /// Of a collection with these indexes, the vectors of whose fields `on_disk` lie on the disk.
    #[must_use]
    pub fn new(schema: &'a Schema, indexes: &[IndexDefinition], on_disk: &'a [FieldId]) -> Self {
        let of = |index: &IndexDefinition| (index.id, IndexNeeds::of(schema, index));
        Self { schema, on_disk, indexes: indexes.iter().map(of).collect() }
    }

    /// What a segment takes with those of its indexes that the collection has. Unit: bytes.
    #[must_use]
    pub fn segment_bytes(&self, segment: &SegmentManifest) -> u64 {
        let saved = bytes_on_disk(segment, self.on_disk);
        let built = segment.indexes.iter().map(|built| {
            let known = self.indexes.iter().find(|(id, _)| *id == built.index);
            known.map_or(0, |(_, needs)| needs.bytes(segment, built))
        });
        segment.loaded_bytes(self.schema).saturating_sub(saved) + built.sum::<u64>()
    }
}

/// What vectors of `on_disk` take there. Unit: bytes.
#[must_use]
pub fn bytes_on_disk(segment: &SegmentManifest, on_disk: &[FieldId]) -> u64 {
    on_disk.iter().map(|field| column_bytes(segment, *field)).sum()
}

/// What an index over a segment takes besides the vectors. Unit: bytes.
#[must_use]
pub fn index_bytes(
    schema: &Schema,
    segment: &SegmentManifest,
    built: &IndexRef,
    definition: &IndexDefinition,
) -> u64 {
    IndexNeeds::of(schema, definition).bytes(segment, built)
}

/// What an index takes besides the vectors, whatever rows it is over.
#[derive(Clone, Copy, Debug)]
enum IndexNeeds {
    /// As much as it is stored with, and a fifth more.
    Stored,
    /// That, and so many times what its column has. Lists of sparse rows are stored in a few bytes and made of the column, which
    /// has 8 bytes a pair: of whole ones a pair takes 8 and each index 16, in two rows on average at least; of windows
    /// up to 22, where an index is in one row of each.
    Columns(u64),
    /// As much as it is stored with and a fifth more, or a graph's whole room, and codes, which are made of the vectors as it is
    /// loaded; of each row. Unit: bytes.
    Rows { graph: u64, codes: u64 },
}

impl IndexNeeds {
    fn of(schema: &Schema, definition: &IndexDefinition) -> Self {
        let Some(field) = schema.field_by_id(definition.field) else { return Self::Stored };
        match field.data_type {
            DataType::BinaryVector => Self::Stored,
            DataType::SparseFloatVector => {
                let by_windows = definition.param("inverted_index_algo").is_some_and(|name| name == "SINDI");
                Self::Columns(if by_windows { 3 } else { 2 })
            }
            _ => {
                let (dim, links) = (field.dim(), links_of(definition));
                let codes = if dim >= CODED_DIM { code_bytes(dim as u64, definition, links) } else { 0 };
                Self::Rows { graph: links.map_or(0, graph_bytes), codes }
            }
        }
    }

    fn bytes(self, segment: &SegmentManifest, built: &IndexRef) -> u64 {
        let stored = built.loaded_bytes();
        match self {
            Self::Stored => stored,
            Self::Columns(times) => stored + times * column_bytes(segment, built.field),
            Self::Rows { graph, codes } => stored.max(segment.rows * graph) + segment.rows * codes,
        }
    }
}

/// What making the lists of sparse rows takes in passing, as an index over them is loaded. Unit: bytes.
#[must_use]
pub fn index_passing_bytes(schema: &Schema, segment: &SegmentManifest, built: &IndexRef) -> u64 {
    let field = schema.field_by_id(built.field);
    let is_sparse = field.is_some_and(|field| field.data_type == DataType::SparseFloatVector);
    if is_sparse { 3 * column_bytes(segment, built.field) } else { 0 }
}

fn column_bytes(segment: &SegmentManifest, field: FieldId) -> u64 {
    let column = segment.columns.iter().find(|column| column.fields == [field]);
    column.map_or(0, |column| column.object.size_bytes)
}

/// Links of a row per layer, as far as a graph is named.
fn links_of(definition: &IndexDefinition) -> Option<u64> {
    let number = |key| definition.param(key).and_then(|text| text.parse::<u64>().ok());
    match definition.index_type.as_str() {
        "HNSW" | "HNSW_SQ" | "HNSW_PQ" | "HNSW_PRQ" | "SVS_VAMANA" | "SVS_VAMANA_LVQ"
        | "SVS_VAMANA_LEANVEC" => Some(number("M").unwrap_or(DEFAULT_M as u64)),
        "DISKANN" | "AISAQ" => Some(number("max_degree").map_or(AUTO_M as u64, |degree| (degree / 2).max(2))),
        "AUTOINDEX" | "" => Some(AUTO_M as u64),
        "FAISS" => Some(links_of_parts(definition)),
        _ => None,
    }
}

/// What a row takes in a graph: room for all its links and how many there are on the lowest layer, where it begins and ends
/// above, and its share of the layers above, which one row of `links` is on. Links are stored as many as there are. Unit: bytes.
const fn graph_bytes(links: u64) -> u64 {
    // 4 for each link and each count, 9 for where they are.
    4 * (2 * links + 1) + 9 + 2 * 4
}

/// The links of a graph that is named by its parts, as in `HNSW32,SQ8`; 0 if it is none.
fn links_of_parts(definition: &IndexDefinition) -> u64 {
    let name = definition.param("faiss_index_name").unwrap_or_default();
    let graph = name.split(',').find_map(|part| part.trim().strip_prefix("HNSW"));
    let digits = graph.map(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next());
    digits.flatten().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The codes of one row, whole cache lines of them, with the length of what they stand for. Unit: bytes.
fn code_bytes(dim: u64, definition: &IndexDefinition, links: Option<u64>) -> u64 {
    const LINE: u64 = 64;
    let (bytes, halves) = (dim.next_multiple_of(LINE), (dim.div_ceil(2)).next_multiple_of(LINE));
    match definition.index_type.as_str() {
        "IVF_PQ" if dim > WHOLE_BYTES_DIM as u64 => halves + 4,
        _ if links.is_some() => bytes + halves + 8,
        _ => bytes + 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PartitionId, SegmentId, Timestamp};
    use crate::model::{ColumnRef, Metric, ObjectRef};

    fn field(data_type: DataType, dim: &str, params: &[(&str, &str)]) -> Field {
        let all = [("dim", dim)].into_iter().chain(params.iter().copied());
        Field {
            id: FieldId(101),
            name: "v".to_owned(),
            description: String::new(),
            data_type,
            is_primary: false,
            auto_id: false,
            is_dynamic: false,
            nullable: false,
            default: None,
            is_partition_key: false,
            is_clustering_key: false,
            type_params: all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }

    fn index(index_type: &str, params: &[(&str, &str)]) -> IndexDefinition {
        IndexDefinition {
            id: IndexId(1),
            name: "v".to_owned(),
            field: FieldId(101),
            index_type: index_type.to_owned(),
            metric: Some(Metric::L2),
            params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn vectors_lie_on_the_disk_where_their_index_compares_codes_or_the_user_says_so() {
        let dense = field(DataType::FloatVector, "128", &[]);
        let asked = field(DataType::Float16Vector, "8", &[("mmap.enabled", "True")]);
        let named = field(DataType::FloatVector, "128", &[("mmap_enabled", "1")]);
        let mapped = ("mmap.enabled", "true");
        let cases = [
            (&dense, index("IVF_SQ8", &[]), true),
            (&dense, index("DISKANN", &[]), true),
            (&dense, index("HNSW", &[]), false),
            (&dense, index("SCANN", &[]), false),
            (&dense, index("HNSW", &[mapped]), true),
            (&dense, index("FLAT", &[("mmap.enabled", "false")]), false),
            (&dense, index("DISKANN", &[("mmap.enabled", "0")]), false),
            (&dense, index("HNSW", &[("params", r#"{"M": 16, "mmap.enabled": true}"#)]), true),
            (&dense, index("HNSW", &[("params", r#"{"M": 16, "mmap.enabled": "T"}"#)]), true),
            (&asked, index("HNSW", &[("mmap.enabled", "false")]), false),
            (&named, index("IVF_FLAT", &[]), true),
            (&asked, index("HNSW", &[]), true),
            // No codes are made of so few components.
            (&field(DataType::FloatVector, "8", &[]), index("IVF_SQ8", &[]), false),
            (&field(DataType::BinaryVector, "128", &[mapped]), index("BIN_FLAT", &[mapped]), false),
            (&field(DataType::SparseFloatVector, "", &[mapped]), index("SPARSE_WAND", &[mapped]), false),
        ];
        for (field, index, wanted) in cases {
            let name = index.index_type.clone();
            assert_eq!(may_lie_on_disk(field, &[index]), wanted, "{field:?} with {name}");
        }
        let other = IndexDefinition { field: FieldId(7), ..index("IVF_SQ8", &[]) };
        assert!(!may_lie_on_disk(&dense, &[other]));
    }

    fn schema(fields: Vec<Field>) -> Schema {
        Schema {
            description: String::new(),
            fields,
            enable_dynamic_field: false,
            functions: Vec::new(),
            structs: Vec::new(),
        }
    }

    /// A segment of columns, each a field and the bytes stored of it, and of an index of field 101 with `indexed` stored bytes.
    fn segment(rows: u64, columns: &[(i64, u64)], indexed: u64) -> SegmentManifest {
        let object = |size_bytes| ObjectRef { key: "k".to_owned(), size_bytes, crc32: 0 };
        let column = |&(id, bytes)| ColumnRef { fields: vec![FieldId(id)], object: object(bytes) };
        SegmentManifest {
            id: SegmentId(1),
            partition: PartitionId(2),
            rows,
            oldest: Timestamp(3),
            newest: Timestamp(4),
            clean_through: Timestamp::ZERO,
            clustered_by: None,
            instants: Vec::new(),
            stats: None,
            columns: columns.iter().map(column).collect(),
            indexes: vec![IndexRef { index: IndexId(1), field: FieldId(101), object: object(indexed) }],
        }
    }

    /// What a row of an integer key and a vector takes, under an index of which so many bytes a row are stored.
    fn row_bytes(dim: u64, index: IndexDefinition, stored: u64) -> u64 {
        const ROWS: u64 = 1_000;
        let key = Field { id: FieldId(100), ..field(DataType::Int64, "", &[]) };
        let schema = schema(vec![key, field(DataType::FloatVector, &dim.to_string(), &[])]);
        let segment = segment(ROWS, &[(100, 4 * ROWS), (101, 4 * dim * ROWS)], stored * ROWS);
        let indexes = [index];
        let on_disk = fields_on_disk(&schema, &indexes);
        Needs::new(&schema, &indexes, &on_disk).segment_bytes(&segment).div_ceil(ROWS)
    }

    #[test]
    fn the_page_about_performance_says_what_a_row_is_reckoned_to_take() {
        const PAGE: &str = include_str!("../../../docs/performance.md");
        // Of lists the number of each row's list is stored; a graph is reckoned with its whole room, however little is stored.
        let known: [(&str, &str, &[(&str, &str)], u64); 9] = [
            ("FLAT", "FLAT", &[], 0),
            ("HNSW, M=16", "HNSW", &[("M", "16")], 0),
            ("HNSW, M=30", "HNSW", &[], 0),
            ("AUTOINDEX", "AUTOINDEX", &[], 0),
            ("IVF_FLAT", "IVF_FLAT", &[], 4),
            ("HNSW_SQ, M=16", "HNSW_SQ", &[("M", "16")], 0),
            ("DISKANN", "DISKANN", &[], 0),
            ("IVF_SQ8", "IVF_SQ8", &[], 4),
            ("IVF_PQ", "IVF_PQ", &[], 4),
        ];
        let wanted = known.map(|(name, kind, params, stored)| {
            (name, [384, 768, 1536].map(|dim| row_bytes(dim, index(kind, params), stored)))
        });

        let lines = PAGE.lines().skip_while(|line| !line.starts_with("| index | 384 |")).skip(2);
        let told = lines.take_while(|line| line.starts_with('|')).map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1], [2, 3, 4].map(|at| cells[at].replace(',', "").parse::<u64>().unwrap()))
        });
        assert_eq!(told.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_segment_whose_vectors_lie_on_the_disk_takes_its_codes() {
        let schema = schema(vec![field(DataType::FloatVector, "128", &[])]);
        let segment = segment(1_000, &[(101, 512_000)], 10_000);
        let taken = |index_type| {
            let indexes = [index(index_type, &[])];
            let on_disk = fields_on_disk(&schema, &indexes);
            Needs::new(&schema, &indexes, &on_disk).segment_bytes(&segment)
        };

        let rows = 32 * 1_000;
        assert_eq!(taken("FLAT"), rows + 512_000 + 12_000 + 132_000);
        assert_eq!(taken("IVF_SQ8"), rows + 12_000 + 132_000);
        assert_eq!(taken("IVF_PQ"), rows + 12_000 + 68_000);
        assert_eq!(Needs::new(&schema, &[], &[]).segment_bytes(&segment), rows + 512_000);
    }
}
