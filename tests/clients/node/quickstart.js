// The Node SDK's quick start: a collection in one call, rows without a schema, search, query, get, delete.
//
//   node quickstart.js ADDRESS        (host:port)
const assert = require('node:assert/strict');
const { MilvusClient } = require('@zilliz/milvus2-sdk-node');

const DIM = 8;
const NAME = `node_quick_${Date.now() % 1e9}`;
const vector = key => Array.from({ length: DIM }, (_, axis) => Math.fround(((key * 31 + axis * 17) % 101) / 101));

function ok(answer) {
  const status = answer.status ?? answer;
  assert.equal(status.error_code, 'Success', `${status.error_code}: ${status.reason}`);
  return answer;
}

async function main() {
  const client = new MilvusClient({ address: process.argv[2] });
  await client.connectPromise;
  ok(await client.createCollection({ collection_name: NAME, dimension: DIM }));
  const rows = Array.from({ length: 100 }, (_, id) => ({ id, vector: vector(id), text: `text ${id}`, subject: id % 2 ? 'history' : 'biology' }));
  assert.equal(Number(ok(await client.insert({ collection_name: NAME, data: rows })).insert_cnt), 100);
  const found = ok(await client.search({ collection_name: NAME, data: vector(7), filter: 'subject == "history"', limit: 2, output_fields: ['id', 'text'], consistency_level: 'Strong' }));
  assert.equal(found.results.length, 2);
  assert.deepEqual([Number(found.results[0].id), found.results[0].text], [7, 'text 7']);
  const many = ok(await client.search({ collection_name: NAME, data: [vector(3), vector(4)], limit: 1, output_fields: ['id'], consistency_level: 'Strong' }));
  assert.deepEqual(many.results.map(hits => Number(hits[0].id)), [3, 4]);
  const queried = ok(await client.query({ collection_name: NAME, filter: 'id in [1, 2]', output_fields: ['text', 'subject'], consistency_level: 'Strong' }));
  // The client leaves the keys that no schema has together, in a query's rows.
  const foundRows = queried.data.map(row => [Number(row.id), row.$meta]);
  assert.deepEqual(foundRows, [[1, { text: 'text 1', subject: 'history' }], [2, { text: 'text 2', subject: 'biology' }]]);
  const got = ok(await client.get({ collection_name: NAME, ids: [9], output_fields: ['vector'], consistency_level: 'Strong' }));
  assert.deepEqual(got.data[0].vector, vector(9));
  assert.equal(Number(ok(await client.delete({ collection_name: NAME, ids: [1, 2] })).delete_cnt), 2);
  const left = ok(await client.count({ collection_name: NAME, consistency_level: 'Strong' }));
  assert.equal(Number(left.data), 98);
  ok(await client.dropCollection({ collection_name: NAME }));
  await client.closeConnection();
  console.log('Node quick start: a collection in one call, insert, search, query, get, delete, count');
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
