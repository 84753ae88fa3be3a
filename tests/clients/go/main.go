// The Go client's quick start: a collection by the fast way, rows and columns in, search, query, filter, get, upsert, delete,
// alias, partition, index by hand, and an iterator over all of it.
//
//	quickstart HOST:PORT
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	"github.com/milvus-io/milvus/client/v2/column"
	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/index"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
)

const (
	dim  = 8
	rows = 1000
)

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func same(what string, found, wanted any) {
	if !reflect.DeepEqual(found, wanted) {
		fmt.Fprintf(os.Stderr, "%s: %v instead of %v\n", what, found, wanted)
		os.Exit(1)
	}
}

func vector(key int) []float32 {
	made := make([]float32, dim)
	for axis := range made {
		made[axis] = float32((key*31+axis*17)%101) / 101
	}
	return made
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client, err := milvusclient.New(ctx, &milvusclient.ClientConfig{Address: os.Args[1]})
	must("connect", err)
	defer client.Close(ctx)
	version, err := client.GetServerVersion(ctx, milvusclient.NewGetServerVersionOption())
	must("version", err)
	same("a version", version != "", true)
	name := fmt.Sprintf("go_quick_%d", time.Now().UnixNano())
	quick(ctx, client, name)
	ownSchema(ctx, client, name+"_own")
	fmt.Println("Go client: quick set-up, rows, columns, search, query, get, upsert, delete, alias, partition, index, iterator")
}

// quick is the five-line way: SimpleCreateCollection makes schema, index and load.
func quick(ctx context.Context, client *milvusclient.Client, name string) {
	must("create", client.CreateCollection(ctx, milvusclient.SimpleCreateCollectionOptions(name, dim).WithAutoID(false)))
	has, err := client.HasCollection(ctx, milvusclient.NewHasCollectionOption(name))
	must("has", err)
	same("has", has, true)
	data := make([]any, 0, 100)
	for key := range 100 {
		data = append(data, map[string]any{"id": int64(key), "vector": vector(key), "colour": []string{"red", "blue"}[key%2]})
	}
	inserted, err := client.Insert(ctx, milvusclient.NewRowBasedInsertOption(name, data...))
	must("insert rows", err)
	same("inserted", inserted.InsertCount, int64(100))
	found, err := client.Search(ctx, milvusclient.NewSearchOption(name, 3, []entity.Vector{entity.FloatVector(vector(7))}).
		WithConsistencyLevel(entity.ClStrong).WithFilter(`colour == "blue"`).WithOutputFields("colour"))
	must("search", err)
	same("hits", found[0].ResultCount, 3)
	first, err := found[0].IDs.GetAsInt64(0)
	must("first", err)
	same("nearest", first, int64(7))
	colour, err := found[0].GetColumn("colour").GetAsString(0)
	must("colour", err)
	same("dynamic field", colour, "blue")
	must("drop", client.DropCollection(ctx, milvusclient.NewDropCollectionOption(name)))
}

func ownSchema(ctx context.Context, client *milvusclient.Client, name string) {
	schema := entity.NewSchema().WithDynamicFieldEnabled(false).
		WithField(entity.NewField().WithName("id").WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName("title").WithDataType(entity.FieldTypeVarChar).WithMaxLength(64)).
		WithField(entity.NewField().WithName("price").WithDataType(entity.FieldTypeDouble)).
		WithField(entity.NewField().WithName("vec").WithDataType(entity.FieldTypeFloatVector).WithDim(dim))
	must("create", client.CreateCollection(ctx, milvusclient.NewCreateCollectionOption(name, schema)))
	task, err := client.CreateIndex(ctx, milvusclient.NewCreateIndexOption(name, "vec", index.NewHNSWIndex(entity.L2, 8, 64)))
	must("index", err)
	must("index is built", task.Await(ctx))
	described, err := client.DescribeIndex(ctx, milvusclient.NewDescribeIndexOption(name, "vec"))
	must("describe index", err)
	same("index type", described.Params()["index_type"], "HNSW")
	load, err := client.LoadCollection(ctx, milvusclient.NewLoadCollectionOption(name))
	must("load", err)
	must("is loaded", load.Await(ctx))
	must("partition", client.CreatePartition(ctx, milvusclient.NewCreatePartitionOption(name, "late")))
	must("alias", client.CreateAlias(ctx, milvusclient.NewCreateAliasOption(name, name+"_alias")))

	ids, titles, prices, vectors := make([]int64, rows), make([]string, rows), make([]float64, rows), make([][]float32, rows)
	for key := range rows {
		ids[key], titles[key], prices[key], vectors[key] = int64(key), fmt.Sprintf("title %d", key), float64(key)/4, vector(key)
	}
	columns := []column.Column{column.NewColumnInt64("id", ids), column.NewColumnVarChar("title", titles), column.NewColumnDouble("price", prices), column.NewColumnFloatVector("vec", dim, vectors)}
	_, err = client.Insert(ctx, milvusclient.NewColumnBasedInsertOption(name, columns...))
	must("insert columns", err)
	_, err = client.Insert(ctx, milvusclient.NewColumnBasedInsertOption(name).WithPartition("late").
		WithInt64Column("id", []int64{rows}).WithVarcharColumn("title", []string{"late"}).
		WithColumns(column.NewColumnDouble("price", []float64{0})).WithFloatVectorColumn("vec", dim, [][]float32{vector(3)}))
	must("insert into a partition", err)

	answer, err := client.Query(ctx, milvusclient.NewQueryOption(name+"_alias").WithFilter("price >= 249.5").
		WithOutputFields("id", "title", "vec").WithConsistencyLevel(entity.ClStrong))
	must("query through the alias", err)
	same("titles", answer.GetColumn("title").(*column.ColumnVarChar).Data(), []string{"title 998", "title 999"})
	same("vectors", []float32(answer.GetColumn("vec").(*column.ColumnFloatVector).Data()[0]), vector(998))
	one, err := client.Get(ctx, milvusclient.NewQueryOption(name).WithIDs(column.NewColumnInt64("id", []int64{5})).WithOutputFields("price"))
	must("get", err)
	same("price", one.GetColumn("price").(*column.ColumnDouble).Data(), []float64{1.25})
	found, err := client.Search(ctx, milvusclient.NewSearchOption(name, 1, []entity.Vector{entity.FloatVector(vector(3))}).
		WithPartitions("late").WithConsistencyLevel(entity.ClStrong).WithAnnParam(index.NewHNSWAnnParam(32)))
	must("search a partition", err)
	same("in the partition", found[0].IDs.(*column.ColumnInt64).Data(), []int64{rows})
	same("its distance", found[0].Scores, []float32{0})

	_, err = client.Upsert(ctx, milvusclient.NewColumnBasedInsertOption(name).WithInt64Column("id", []int64{1}).
		WithVarcharColumn("title", []string{"anew"}).WithColumns(column.NewColumnDouble("price", []float64{9})).
		WithFloatVectorColumn("vec", dim, [][]float32{vector(1)}))
	must("upsert", err)
	deleted, err := client.Delete(ctx, milvusclient.NewDeleteOption(name).WithInt64IDs("id", []int64{2, 4}))
	must("delete", err)
	same("deleted", deleted.DeleteCount, int64(2))
	counted, err := client.Query(ctx, milvusclient.NewQueryOption(name).WithOutputFields("count(*)").WithConsistencyLevel(entity.ClStrong))
	must("count", err)
	same("count", counted.GetColumn("count(*)").(*column.ColumnInt64).Data(), []int64{rows - 1})
	iterate(ctx, client, name)
	_, err = client.Query(ctx, milvusclient.NewQueryOption(name).WithFilter("nothing == 1"))
	same("an unknown field is refused", err != nil, true)
	must("drop alias", client.DropAlias(ctx, milvusclient.NewDropAliasOption(name+"_alias")))
	must("drop", client.DropCollection(ctx, milvusclient.NewDropCollectionOption(name)))
}

func iterate(ctx context.Context, client *milvusclient.Client, name string) {
	iterator, err := client.QueryIterator(ctx, milvusclient.NewQueryIteratorOption(name).WithBatchSize(300).WithOutputFields("id", "title"))
	must("iterator", err)
	seen := map[int64]string{}
	for {
		batch, err := iterator.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		must("next", err)
		for row := range batch.Len() {
			key, err := batch.GetColumn("id").GetAsInt64(row)
			must("key", err)
			title, err := batch.GetColumn("title").GetAsString(row)
			must("title", err)
			seen[key] = title
		}
	}
	same("rows seen", len(seen), rows-1)
	same("the upserted row", seen[1], "anew")
}
