<?php
// A small shop in PHP: this file answers every path, which it finds in PATH_INFO.
$version = trim(file_get_contents(__DIR__ . '/../VERSION'));
header('X-Version: ' . $version);
header('X-Colour: ' . (getenv('BLUEGREEN_COLOUR') ?: 'none'));
header('X-Request-Id: ' . ($_SERVER['HTTP_X_REQUEST_ID'] ?? ''));
$path = $_SERVER['PATH_INFO'] ?? '/';
if ($path === '/healthz') {
    header('Content-Type: text/plain');
    echo 'ok';
} elseif ($path === '/order') {
    header('Content-Type: application/json');
    echo '{"bytes":' . strlen(file_get_contents('php://input')) . '}';
} elseif (str_starts_with($path, '/seen')) {
    header('Content-Type: application/json');
    echo json_encode(['path' => $path, 'query' => $_SERVER['QUERY_STRING'], 'client' => $_SERVER['REMOTE_ADDR'],
        'host' => $_SERVER['HTTP_HOST']], JSON_UNESCAPED_SLASHES);
} elseif ($path === '/') {
    echo "<!doctype html><h1>shop $version</h1>";
} else {
    http_response_code(404);
}
