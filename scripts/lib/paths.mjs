import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
export const cacheDir = join(root, '.cache');
/** In the order in which they depend on each other. */
export const packages = ['shared', 'simulator', 'backend', 'whatsapp-service', 'bench'];
export const programs = {
  backend: join(root, 'backend/dist/main.js'),
  backup: join(root, 'backend/dist/backup.js'),
  'reset-admin': join(root, 'backend/dist/reset-admin.js'),
  worker: join(root, 'whatsapp-service/dist/main.js'),
  simulator: join(root, 'simulator/dist/main.js'),
};
