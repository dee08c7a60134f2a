line.connect();
