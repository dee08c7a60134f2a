// Login, connection state, and linking. The login is stored in IndexedDB with strict durability, so that LocalAuth really restores it.
const store = (() => {
  const open = new Promise((resolve, reject) => {
    const request = indexedDB.open('signal-storage', 1);
    request.onupgradeneeded = () => request.result.createObjectStore('login');
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const run = async (mode, work) => {
    const transaction = (await open).transaction('login', mode, { durability: 'strict' });
    const request = work(transaction.objectStore('login'));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = () => reject(transaction.error);
    });
  };
  return {
    get: (key) => run('readonly', (box) => box.get(key)),
    put: (key, value) => run('readwrite', (box) => box.put(value, key)),
    clear: () => run('readwrite', (box) => box.clear()),
  };
})();

const Socket = new (class extends Model {
  async logout() {
    await line.request('logout');
    await forget();
  }
  async takeover() {
    retired = false;
    Socket.set({ state: 'OPENING' });
    line.connect();
  }
  reconnect() {
    line.close();
  }
})({ state: 'OPENING', stream: 'DISCONNECTED', hasSynced: false });
const Conn = new Model({
  ref: undefined,
  wid: undefined,
  pushname: undefined,
  platform: undefined,
  battery: undefined,
  plugged: undefined,
  refTTL: 20000,
  connected: false,
});
/** A business account has its name from its registration. */
Conn.canSetMyPushname = () => !String(Conn.platform).startsWith('smb');
const Stream = new Model({ mode: 'QR', available: false });
/** The page informs others of what it shows. */
function showStream(available) {
  Stream.set({ available });
  line.request('presence', { available }).catch(() => undefined);
}
Stream.markAvailable = () => showStream(true);
Stream.markUnavailable = () => showStream(false);
const Cmd = new Emitter();
Cmd.refreshQR = () => line.request('refresh_qr').then(() => Socket.set({ state: 'UNPAIRED' }));

let me = null;
let creds = null;
let retired = false;

async function forget() {
  retired = true;
  await store.clear();
  Cmd.trigger('logout');
  setTimeout(() => location.assign('/?post_logout=1'), 50);
}

function identify(identity) {
  me = { pn: createWid(identity.pn), lid: createWid(identity.lid), name: identity.name, about: identity.about };
  learn({ phone: identity.pn, lid: identity.lid });
  Conn.set({ wid: me.pn, pushname: identity.name, platform: identity.platform, connected: true });
  Stream.set({ mode: 'MAIN' });
}

async function begin() {
  creds = (await store.get('creds')) ?? null;
  const answer = await line.request('hello', { creds });
  line.admit();
  if (answer.refused) return forget();
  if (!answer.linked) return;
  identify(answer.me);
  await readAccount();
  Socket.set({ state: 'CONNECTED' });
  await sync();
}

line.hooks(
  () => void begin().catch((error) => console.error(error)),
  () => {
    if (retired) return;
    if (me) Socket.set({ state: 'OPENING' });
    setTimeout(() => line.connect(), line.quietMs ?? 200);
    line.quietMs = undefined;
  },
);
line.on('ref', (ref) => {
  Conn.set({ ref });
  if (Socket.state !== 'UNPAIRED') Socket.set({ state: 'UNPAIRED' });
});
line.on('ref_idle', () => Socket.set({ state: 'UNPAIRED_IDLE' }));
line.on('pair_success', async ({ creds: given, me: identity }) => {
  creds = given;
  Socket.set({ state: 'PAIRING' });
  await store.put('creds', creds);
  identify(identity);
  await readAccount();
  showNews();
  Socket.set({ state: 'CONNECTED' });
  await sync();
});
line.on('platform', (platform) => Conn.set({ platform }));
line.on('logged_out', () => void forget());
line.on('state', ({ state }) => {
  retired = true;
  Socket.set({ state });
});
line.on('conflict', () => {
  retired = true;
  Socket.set({ state: 'CONFLICT' });
});
line.on('drop', ({ forMs }) => {
  line.quietMs = forMs;
  line.close();
});

// Linking by passkey: WhatsApp requests it from the page, which requests it from the browser.
const fromBase64Url = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (char) => char.charCodeAt(0));
const toBase64Url = (buffer) =>
  btoa(binary(new Uint8Array(buffer)))
    .replace(/\+/g, '-')
    .replace(/\//g, '_')
    .replace(/=+$/, '');
async function signWithPasskey(request) {
  const credential = await navigator.credentials.get({
    publicKey: {
      ...request,
      challenge: fromBase64Url(request.challenge),
      allowCredentials: request.allowCredentials.map(({ id, type }) => ({ type, id: fromBase64Url(id) })),
    },
  });
  const { clientDataJSON, authenticatorData, signature } = credential.response;
  return {
    id: credential.id,
    clientDataJSON: toBase64Url(clientDataJSON),
    authenticatorData: toBase64Url(authenticatorData),
    signature: toBase64Url(signature),
  };
}
line.on('passkey', async (request) => {
  Socket.set({ state: 'PAIRING' });
  const given = await signWithPasskey(request).catch(() => null);
  await line.request('assertion', { given }).catch(() => Cmd.refreshQR());
});

__d('WAWebSocketModel', () => ({ Socket }));
__d('WAWebConnModel', () => ({ Conn }));
__d('WAWebStreamModel', () => ({ Stream }));
__d('WAWebCmd', () => ({ Cmd }));
__d('WAWebOfflineHandler', () => ({ OfflineMessageHandler: { getOfflineDeliveryProgress: () => 100 } }));
__d('WAWebMiscBrowserUtils', () => ({ info: () => ({ os: 'Linux', name: 'Chrome', version: '1' }) }));
__d('WAWebLaunchSocketUtils', () => ({ refreshQR: () => Cmd.refreshQR() }));
__d('WABase64', () => ({ encodeB64: (bytes) => btoa(binary(new Uint8Array(bytes))) }));
__d('WAWebCompanionRegClientUtils', () => ({ DEVICE_PLATFORM: 'CHROME' }));
__d('WAWebAdvSignatureApi', () => ({}));
const keyPair = () => ({ pubKey: crypto.getRandomValues(new Uint8Array(32)) });
const noiseInfo = { staticKeyPair: keyPair() };
const registration = { identityKeyPair: keyPair() };
__d('WAWebUserPrefsInfoStore', () => ({ waNoiseInfo: { get: async () => noiseInfo } }));
__d('WAWebSignalStoreApi', () => ({ waSignalStore: { getRegistrationInfo: async () => registration } }));
const advSecret = btoa(binary(crypto.getRandomValues(new Uint8Array(32))));
__d('WAWebUserPrefsMultiDevice', () => ({ getADVSecretKey: () => advSecret }));
__d('WAWebUserPrefsMeUser', () => ({
  getMaybeMePnUser: () => me?.pn,
  getMaybeMeLidUser: () => me?.lid,
  getMeUser: () => me?.pn,
  getMePnUserOrThrow: () => me.pn,
}));
let pairingType = 'QR';
__d('WAWebAltDeviceLinkingApi', () => ({
  setPairingType: (type) => void (pairingType = type),
  initializeAltDeviceLinking: async () => {
    if (pairingType !== 'ALT_DEVICE_LINKING') throw new r('wrong pairing type', 400);
  },
  initializeQRLinking: async () => {
    pairingType = 'QR';
    await line.request('altlink_cancel');
  },
  startAltLinkingFlow: (phone) => line.request('altlink', { phone: String(phone).replace(/\D/g, '') }),
}));
