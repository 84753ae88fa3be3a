// What a user of the Node client does, in short: create, insert, index, load, search, query, upsert, delete, count, alias, drop.
//
//   node suite.js ADDRESS        (host:port)
const assert = require('node:assert/strict');
const { MilvusClient, DataType } = require('@zilliz/milvus2-sdk-node');

const ROWS = 2000;
const DIM = 16;
const NAME = `node_${Date.now() % 1e9}`;

// A generator of its own, so that every run has the same vectors.
function* numbers(seed) {
  for (;;) {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    yield seed / 1073741824 - 1;
  }
}
const next = numbers(7);
const rows = Array.from({ length: ROWS }, (_, id) => ({
  id,
  title: `title ${id}`,
  info: { group: id % 7 },
  vec: Array.from({ length: DIM }, () => Math.fround(next.next().value)),
  colour: ['red', 'green', 'blue'][id % 3],
}));

function ok(answer) {
  const status = answer.status ?? answer;
  assert.equal(status.error_code, 'Success', `${status.error_code}: ${status.reason}`);
  return answer;
}

async function count(client) {
  const answer = ok(await client.query({ collection_name: NAME, filter: '', output_fields: ['count(*)'], consistency_level: 'Strong' }));
  return Number(answer.data[0]['count(*)']);
}

async function main() {
  const client = new MilvusClient({ address: process.argv[2] });
  await client.connectPromise;
  const version = ok(await client.getVersion()).version;
  assert.match(version, /\d+\.\d+/);

  ok(
    await client.createCollection({
      collection_name: NAME,
      enable_dynamic_field: true,
      fields: [
        { name: 'id', data_type: DataType.Int64, is_primary_key: true },
        { name: 'title', data_type: DataType.VarChar, max_length: 100 },
        { name: 'info', data_type: DataType.JSON },
        { name: 'vec', data_type: DataType.FloatVector, dim: DIM },
      ],
    }),
  );
  const inserted = ok(await client.insert({ collection_name: NAME, data: rows }));
  assert.equal(Number(inserted.insert_cnt), ROWS);
  ok(await client.createIndex({ collection_name: NAME, field_name: 'vec', index_type: 'HNSW', metric_type: 'L2', params: { M: 8, efConstruction: 100 } }));
  ok(await client.loadCollectionSync({ collection_name: NAME }));

  const found = ok(
    await client.search({ collection_name: NAME, data: [rows[42].vec], limit: 3, output_fields: ['id', 'title', 'info', 'colour'], params: { ef: 200 }, consistency_level: 'Strong' }),
  );
  const first = Array.isArray(found.results[0]) ? found.results[0][0] : found.results[0];
  assert.equal(Number(first.id), 42);
  assert.equal(first.title, 'title 42');
  assert.deepEqual(first.info, { group: 0 });
  assert.equal(first.colour, 'red');
  assert.equal(first.score, 0);

  const queried = ok(await client.query({ collection_name: NAME, filter: 'info["group"] == 3 and id < 20', output_fields: ['id', 'vec'], consistency_level: 'Strong' }));
  assert.deepEqual(queried.data.map(row => Number(row.id)).sort((a, b) => a - b), [3, 10, 17]);
  assert.deepEqual(queried.data.find(row => Number(row.id) === 3).vec, rows[3].vec);

  ok(await client.upsert({ collection_name: NAME, data: [{ ...rows[5], title: 'changed' }] }));
  const changed = ok(await client.query({ collection_name: NAME, filter: 'id == 5', output_fields: ['title'], consistency_level: 'Strong' }));
  assert.equal(changed.data[0].title, 'changed');
  ok(await client.delete({ collection_name: NAME, filter: 'id in [1, 2, 3]' }));
  assert.equal(await count(client), ROWS - 3);

  const health = ok(await client.checkHealth());
  assert.equal(health.isHealthy, true, `${health.reasons}`);
  const metric = ok(await client.getMetric({ request: { metric_type: 'system_info' } }));
  const types = new Set(metric.response.nodes_info.map(node => node.infos.type));
  for (const type of ['proxy', 'rootcoord', 'querynode', 'streamingnode', 'datanode']) assert.ok(types.has(type), type);

  const alias = `alias_${NAME}`;
  ok(await client.createAlias({ collection_name: NAME, alias }));
  assert.equal(ok(await client.describeAlias({ collection_name: NAME, alias })).collection, NAME);
  ok(await client.dropAlias({ alias }));

  const missing = await client.describeCollection({ collection_name: 'missing_' + NAME });
  assert.equal(missing.status.code, 100);
  ok(await client.dropCollection({ collection_name: NAME }));
  assert.equal(ok(await client.hasCollection({ collection_name: NAME })).value, false);
  await client.closeConnection();
  console.log(`node client 3.0.6 against ${version}: 1 passed, 0 failed`);
}

main().catch(error => {
  console.error(error);
  console.log('node client: 0 passed, 1 failed');
  process.exit(1);
});
