import { spawn } from 'node:child_process';
import { warn } from './terminal.mjs';

const commands = { darwin: ['open'], win32: ['cmd', '/c', 'start', ''] };

/** Whether the person asked for it: `npm start -- --open`. */
export const isOpenWanted = (args = process.argv) => args.includes('--open');

/** Opens an address in the browser of the person at the terminal, where there is one. A failure is a line, not an error. */
export function openBrowser(address) {
  const [command, ...first] = commands[process.platform] ?? ['xdg-open'];
  // `&` would end the command of cmd.
  const target = process.platform === 'win32' ? address.replaceAll('&', '^&') : address;
  const child = spawn(command, [...first, target], { stdio: 'ignore', detached: true });
  child.once('error', () => warn(`No browser could be opened (${command} is missing). Open ${address} yourself.`));
  child.unref();
}
