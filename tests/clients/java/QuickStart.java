import com.google.gson.Gson;
import com.google.gson.JsonObject;
import io.milvus.v2.client.ConnectConfig;
import io.milvus.v2.client.MilvusClientV2;
import io.milvus.v2.common.ConsistencyLevel;
import io.milvus.v2.common.DataType;
import io.milvus.v2.common.IndexParam;
import io.milvus.v2.service.collection.request.AddFieldReq;
import io.milvus.v2.service.collection.request.CreateCollectionReq;
import io.milvus.v2.service.collection.request.DropCollectionReq;
import io.milvus.v2.service.collection.request.GetLoadStateReq;
import io.milvus.v2.service.collection.request.HasCollectionReq;
import io.milvus.v2.service.utility.request.CreateAliasReq;
import io.milvus.v2.service.utility.request.DropAliasReq;
import io.milvus.v2.service.vector.request.DeleteReq;
import io.milvus.v2.service.vector.request.GetReq;
import io.milvus.v2.service.vector.request.InsertReq;
import io.milvus.v2.service.vector.request.QueryReq;
import io.milvus.v2.service.vector.request.SearchReq;
import io.milvus.v2.service.vector.request.UpsertReq;
import io.milvus.v2.service.vector.request.data.FloatVec;
import io.milvus.v2.service.vector.response.QueryResp;
import io.milvus.v2.service.vector.response.SearchResp;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** The Java SDK's quick start: a collection with its index in one call, rows in, search, query, get, upsert, delete, alias. */
public final class QuickStart {
  private static final int DIM = 8;

  private static void same(String what, Object found, Object wanted) {
    if (!Objects.equals(found, wanted)) {
      throw new IllegalStateException(what + ": " + found + " instead of " + wanted);
    }
  }

  private static List<Float> vector(int key) {
    List<Float> made = new ArrayList<>();
    for (int axis = 0; axis < DIM; axis++) {
      made.add(((key * 31 + axis * 17) % 101) / 101f);
    }
    return made;
  }

  private static JsonObject row(int key, String title) {
    JsonObject row = new JsonObject();
    row.addProperty("id", (long) key);
    row.addProperty("title", title);
    row.add("vec", new Gson().toJsonTree(vector(key)));
    row.addProperty("colour", key % 2 == 0 ? "red" : "blue");
    return row;
  }

  private static List<SearchResp.SearchResult> nearest(MilvusClientV2 client, String name, int key, int top, String filter) {
    return client
        .search(
            SearchReq.builder()
                .collectionName(name)
                .annsField("vec")
                .data(List.of(new FloatVec(vector(key))))
                .topK(top)
                .filter(filter)
                .outputFields(List.of("title", "colour"))
                .searchParams(Map.of("ef", 64))
                .consistencyLevel(ConsistencyLevel.STRONG)
                .build())
        .getSearchResults()
        .get(0);
  }

  private static List<QueryResp.QueryResult> query(MilvusClientV2 client, String name, String filter, String... fields) {
    return client
        .query(
            QueryReq.builder()
                .collectionName(name)
                .filter(filter)
                .outputFields(List.of(fields))
                .consistencyLevel(ConsistencyLevel.STRONG)
                .build())
        .getQueryResults();
  }

  private static void create(MilvusClientV2 client, String name) {
    CreateCollectionReq.CollectionSchema schema = client.createSchema();
    schema.setEnableDynamicField(true);
    schema.addField(AddFieldReq.builder().fieldName("id").dataType(DataType.Int64).isPrimaryKey(true).build());
    schema.addField(AddFieldReq.builder().fieldName("title").dataType(DataType.VarChar).maxLength(64).build());
    schema.addField(AddFieldReq.builder().fieldName("vec").dataType(DataType.FloatVector).dimension(DIM).build());
    IndexParam index =
        IndexParam.builder()
            .fieldName("vec")
            .indexType(IndexParam.IndexType.HNSW)
            .metricType(IndexParam.MetricType.L2)
            .extraParams(Map.of("M", 8, "efConstruction", 64))
            .build();
    client.createCollection(
        CreateCollectionReq.builder().collectionName(name).collectionSchema(schema).indexParams(List.of(index)).build());
    same("created", client.hasCollection(HasCollectionReq.builder().collectionName(name).build()), true);
    same("loaded", client.getLoadState(GetLoadStateReq.builder().collectionName(name).build()), true);
  }

  public static void main(String[] arguments) throws Exception {
    MilvusClientV2 client = new MilvusClientV2(ConnectConfig.builder().uri(arguments[0]).build());
    String name = "java_quick_" + System.nanoTime();
    same("a version", client.getServerVersion().isEmpty(), false);
    create(client, name);
    List<JsonObject> rows = new ArrayList<>();
    for (int key = 0; key < 1000; key++) {
      rows.add(row(key, "title " + key));
    }
    same("inserted", client.insert(InsertReq.builder().collectionName(name).data(rows).build()).getInsertCnt(), 1000L);

    List<SearchResp.SearchResult> found = nearest(client, name, 7, 3, "colour == \"blue\" and id < 100");
    same("hits", found.size(), 3);
    same("nearest", found.get(0).getId(), 7L);
    same("its distance", found.get(0).getScore(), 0f);
    same("its fields", found.get(0).getEntity().get("title") + " " + found.get(0).getEntity().get("colour"), "title 7 blue");
    same("by a filter", query(client, name, "id in [3, 5]", "title").get(1).getEntity().get("title"), "title 5");
    same(
        "by its key",
        client
            .get(GetReq.builder().collectionName(name).ids(List.of(9L)).outputFields(List.of("vec")).build())
            .getGetResults()
            .get(0)
            .getEntity()
            .get("vec"),
        vector(9));

    client.upsert(UpsertReq.builder().collectionName(name).data(List.of(row(3, "anew"))).build());
    same("upserted", query(client, name, "id == 3", "title").get(0).getEntity().get("title"), "anew");
    same("deleted", client.delete(DeleteReq.builder().collectionName(name).filter("id >= 990").build()).getDeleteCnt(), 10L);
    same("counted", query(client, name, "", "count(*)").get(0).getEntity().get("count(*)"), 990L);
    client.createAlias(CreateAliasReq.builder().collectionName(name).alias(name + "_alias").build());
    same("through the alias", query(client, name + "_alias", "id == 3", "title").size(), 1);
    client.dropAlias(DropAliasReq.builder().alias(name + "_alias").build());
    client.dropCollection(DropCollectionReq.builder().collectionName(name).build());
    same("dropped", client.hasCollection(HasCollectionReq.builder().collectionName(name).build()), false);
    client.close();
    System.out.println("Java SDK: collection with index, insert, search, query, get, upsert, delete, count, alias");
  }
}
