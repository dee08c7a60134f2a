<?php
/**
 * A webhook receiver, PHP 8.1 or newer, nothing to install.
 *
 *   WEBHOOK_SECRET=whsec_… STATE_FILE=/var/lib/hooks/state.json php -S 127.0.0.1:9000 receiver.php
 *
 * It refuses what is not signed, takes each event once, and says when one comes after a newer one of its session.
 */
declare(strict_types=1);

const TOLERANCE_SECONDS = 300;

function key_of(string $secret): string
{
    if (!str_starts_with($secret, 'whsec_')) {
        return $secret;
    }
    return (string) base64_decode(substr($secret, 6), true);
}

/** Whether the signature is right and fresh. $body: the bytes as they came, not JSON that was parsed and written again. */
function is_signed(string $secret, string $id, string $timestamp, string $signatures, string $body, ?int $now = null): bool
{
    if ($id === '' || preg_match('/^[0-9]{1,18}$/D', $timestamp) !== 1) {
        return false;
    }
    if (abs(($now ?? time()) - (int) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $right = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", key_of($secret), true));
    // During a rotation there are two, parted by a blank. The text is compared, not what it decodes to.
    foreach (explode(' ', $signatures) as $given) {
        if (hash_equals($right, $given)) {
            return true;
        }
    }
    return false;
}

/** Yours to write. Store the event and return; do the work later: an answer after 15 s counts as a failure. */
function take(array $event, bool $late): void
{
    $line = ['id' => $event['id'], 'event' => $event['event'], 'cursor' => $event['cursor'], 'late' => $late];
    file_put_contents('php://stdout', json_encode($line) . "\n");
}

function receive(): int
{
    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
        return 405;
    }
    $body = (string) file_get_contents('php://input');
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    $signatures = $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '';
    if (!is_signed((string) getenv('WEBHOOK_SECRET'), $id, $timestamp, $signatures, $body)) {
        return 401;
    }
    $event = json_decode($body, true);
    if (!is_array($event) || !isset($event['id'], $event['event'], $event['cursor'])) {
        return 400;
    }
    // A file stands in for the table that a real receiver has; the lock, for its transaction.
    $file = fopen(getenv('STATE_FILE') ?: sys_get_temp_dir() . '/chasqui-receiver.json', 'c+');
    flock($file, LOCK_EX);
    $state = json_decode((string) stream_get_contents($file), true) ?: ['seen' => [], 'newest' => []];
    // The same id comes again when our answer got lost: say yes, and do nothing.
    if (!isset($state['seen'][$id])) {
        $lane = $event['session']['id'] ?? '';
        // Cursors have one length and sort as text. A late event must not overwrite a newer state.
        $late = strcmp($event['cursor'], $state['newest'][$lane] ?? '') < 0;
        take($event, $late);
        $state['seen'][$id] = true;
        if (!$late) {
            $state['newest'][$lane] = $event['cursor'];
        }
        rewind($file);
        ftruncate($file, 0);
        fwrite($file, (string) json_encode($state));
    }
    fclose($file);
    return 200;
}

http_response_code(receive());
