// A room of Socket.IO: what one client says goes to all.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const server = new Server(http);

server.on("connection", (socket) => {
  socket.on("m", (data) => server.emit("m", data));
});
http.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 2048 });
