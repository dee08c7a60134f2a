import { randomBytes } from 'node:crypto';

/** Before the first test file: names the PostgreSQL database that tests copy (backend/test/support/backend.ts). */
export default function setup() {
  process.env.CHASQUI_TEST_TEMPLATE = `chq_test_template_${process.pid}_${randomBytes(4).toString('hex')}`;
}
