import './lib/node-version.mjs';
import { runProgram } from './lib/program.mjs';

/** `npm run test:crash [-- --seeds 10]`: kills every process at every fail point; its exit code is ours (bench/src/crash/main.ts). */
await runProgram('bench/dist/crash/main.js');
