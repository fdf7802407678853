exports.up = async (knex) => {
  await knex.schema.createTable('notes', (table) => table.string('text'));
  await knex('notes').insert({ text: 'Knex migrated' });
};
exports.down = (knex) => knex.schema.dropTable('notes');
