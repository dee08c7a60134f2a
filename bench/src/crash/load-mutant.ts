import { register } from 'node:module';

/** Given to Node by `--import` in a mutation run: from here on modules are loaded through the hooks beside this file. */
register('./mutant-hooks.js', import.meta.url);
