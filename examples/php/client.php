<?php
/**
 * Sends a text and reads the events that follow. PHP 8.1 or newer, nothing to install.
 *
 *   CHASQUI=http://localhost:8000/api/v1 KEY=chq_… TO=5511999990001 php client.php
 */
declare(strict_types=1);

function call(string $method, string $path, ?array $body = null, array $headers = []): array
{
    $lines = ['Authorization: ApiKey ' . getenv('KEY'), ...$headers];
    if ($body !== null) {
        $lines[] = 'Content-Type: application/json';
    }
    $context = stream_context_create(['http' => [
        'method' => $method,
        'header' => $lines,
        'content' => $body === null ? '' : json_encode($body, JSON_THROW_ON_ERROR),
        // Longer than the longest wait of ours.
        'timeout' => 40,
        // Refusals have a body, too.
        'ignore_errors' => true,
    ]]);
    $text = file_get_contents((getenv('CHASQUI') ?: 'http://localhost:8000/api/v1') . $path, false, $context);
    if ($text === false) {
        throw new RuntimeException('No answer.');
    }
    $reply = json_decode($text, true, 64, JSON_THROW_ON_ERROR);
    if (!$reply['success']) {
        throw new RuntimeException("{$reply['error']['code']}: {$reply['error']['message']}");
    }
    return $reply;
}

// Where the log stands before we send: everything after it is ours to read.
$after = call('GET', '/events?limit=1')['meta']['latestCursor'];

// The same key again gives the same answer, never a second message. Take something of yours, such as an order's number.
$sent = call(
    'POST',
    '/messages/send-text',
    ['recipient' => getenv('TO'), 'message' => 'Hello from PHP', 'queueIfOffline' => true, 'async' => true],
    ['Idempotency-Key: ' . (getenv('ORDER') ?: 'order-' . microtime(true))],
);
echo "accepted {$sent['data']['id']} {$sent['data']['status']}\n";

// Waits up to 20 s for the next events. Keep the cursor, and nothing is missed or seen twice, however long you were away.
for ($rounds = (int) (getenv('ROUNDS') ?: PHP_INT_MAX); $rounds > 0; $rounds--) {
    $page = call('GET', "/events?after=$after&types=message.*&wait=20");
    foreach ($page['data'] as $event) {
        echo "event {$event['cursor']} {$event['type']} " . ($event['data']['id'] ?? '') . "\n";
    }
    $after = $page['meta']['nextCursor'];
}
