/** Stands for `pngjs` in every test: the copy that environment.mjs loads outside of jest's sandbox. */
module.exports = globalThis[Symbol.for('chasqui.pngjs')];
