import { phoneOf, type OperationInput, type OperationOutput } from '@chasqui/shared';
import { callPage } from '../bridge.js';
import type { OperationContext } from './context.js';

export interface PageIdentity {
  phone: string | null;
  lid: string | null;
  pushName: string | null;
  platform: string | null;
  version: string | null;
}

export async function ownProfile(
  _: OperationInput<'profile.get'>,
  { page, deadlineMs }: OperationContext,
): Promise<OperationOutput<'profile.get'>> {
  const me = await callPage<PageIdentity>(page, 'identity', {}, deadlineMs);
  const [about, picture] = me.phone
    ? await Promise.all([
        callPage<string | null>(page, 'about', { id: me.phone }, deadlineMs),
        callPage<string | null>(page, 'picture', { id: me.phone }, deadlineMs),
      ])
    : [null, null];
  return {
    phoneNumber: phoneOf(me.phone),
    lid: me.lid,
    name: me.pushName,
    about,
    picture,
    isBusiness: /^smb/.test(me.platform ?? ''),
    platform: me.platform,
  };
}
