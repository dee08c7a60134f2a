import './lib/node-version.mjs';
import { runProgram } from './lib/program.mjs';

/** `npm run bench [-- arguments]`: promise and measured figure side by side (bench/src/main.ts). */
await runProgram('bench/dist/main.js');
