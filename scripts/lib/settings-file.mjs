/** The text of `.env.example`, made from the table of settings that the programs read, so the two cannot differ. */
export function envExample(table) {
  const lines = [
    '# All settings of Chasqui with their defaults. Copy this file to .env and set what should be different;',
    '# what the environment sets wins over .env. An empty value counts as not set.',
    '# Made by `node scripts/env-example.mjs` from shared/src/settings.ts; `npm test` fails when the two differ.',
  ];
  let group = null;
  for (const [name, row] of Object.entries(table)) {
    if (row.group !== group) {
      group = row.group;
      lines.push('', `# ── ${group} ${'─'.repeat(Math.max(3, 60 - group.length))}`);
    }
    lines.push('', `# ${row.doc}`);
    if (row.aliases?.length) lines.push(`# Also read: ${row.aliases.join(', ')}.`);
    if (row.secret) lines.push('# Secret.');
    lines.push(`#${name}=${defaultOf(row)}`);
  }
  return `${lines.join('\n')}\n`;
}

export function defaultOf(row) {
  const parsed = row.schema.safeParse(undefined);
  if (!parsed.success || parsed.data === undefined || parsed.data === null) return '';
  return Array.isArray(parsed.data) ? parsed.data.join(',') : String(parsed.data);
}
