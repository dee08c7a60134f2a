/**
 * Imported first by every script: an older Node must be refused with a clear message before a newer function is missing somewhere else.
 * Uses nothing that Node 14 does not have.
 */
export const oldestNode = [20, 19];

/** Whether a version such as `20.19.1` is new enough. */
export function isNodeNewEnough(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
}

if (!isNodeNewEnough(process.versions.node)) {
  process.stderr.write(
    'Chasqui needs Node.js ' +
      oldestNode.join('.') +
      ' or newer, and this is ' +
      process.versions.node +
      '.\nInstall a current one from https://nodejs.org (or with your version manager) and run the same command again.\n',
  );
  process.exit(1);
}
