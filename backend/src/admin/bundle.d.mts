/** Bundles the pages of the panel into dist/admin/panel.bundle.js. */
export function bundlePanel(): Promise<void>;
