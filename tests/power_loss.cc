#include "tests/power_loss.h"

#include <filesystem>
#include <fstream>
#include <utility>

#include "comm/base/check.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

using Kind = JournalFileSystem::Call::Kind;

bool Heads(std::minstd_rand& draw) { return draw() % 2 == 0; }

}  // namespace

Disk::Disk(std::string root) : root_(std::move(root)) {
  tree_.is_directory = true;
}

// Without "a/..", which the journal may have; "." for the root.
std::string Disk::Relative(const std::string& path) const {
  return fs::path(path).lexically_normal().lexically_relative(root_).string();
}

Disk::Node& Disk::Find(const std::string& path) {
  Node* node = &tree_;
  for (const fs::path& name : fs::path(Relative(path))) {
    if (name == "." || name.empty()) continue;
    const auto found = node->names.find(name.string());
    CHECK(found != node->names.end());
    node = found->second.get();
  }
  return *node;
}

Disk::Names& Disk::NamesBeside(const std::string& path) {
  return Find(fs::path(path).parent_path().string()).names;
}

void Disk::Do(const JournalFileSystem::Call& call) {
  const std::string name = fs::path(call.path).filename().string();
  switch (call.kind) {
    case Kind::kCreate:
    case Kind::kMake: {
      std::shared_ptr<Node>& node = NamesBeside(call.path)[name];
      if (node == nullptr) node = std::make_shared<Node>();
      node->is_directory = call.kind == Kind::kMake;
      node->bytes.clear();
      break;
    }
    case Kind::kAppend:
      Find(call.path).bytes += call.argument;
      break;
    case Kind::kSync: {
      Node& file = Find(call.path);
      file.synced_bytes = file.bytes;
      break;
    }
    case Kind::kClose:
      break;
    case Kind::kRename: {
      const auto node = NamesBeside(call.path).extract(name);
      NamesBeside(call.argument)[fs::path(call.argument).filename().string()] =
          node.mapped();
      break;
    }
    case Kind::kRemove:
      NamesBeside(call.path).erase(name);
      break;
    case Kind::kSyncDirectory: {
      Node& directory = Find(call.path);
      directory.synced_names = directory.names;
      break;
    }
  }
}

void Disk::WriteTo(const std::string& directory, Unsynced unsynced,
                   uint32_t seed) const {
  fs::remove_all(directory);
  Draw draw(seed);
  WriteNode(tree_, directory, unsynced, draw);
}

void Disk::WriteNode(const Node& node, const std::string& path,
                     Unsynced unsynced, Draw& draw) {
  if (!node.is_directory) {
    std::ofstream(path, std::ios::binary) << LeftBytes(node, unsynced, draw);
    return;
  }
  fs::create_directory(path);
  for (const auto& [name, child] : Left(node, unsynced, draw))
    WriteNode(*child, JoinPath(path, name), unsynced, draw);
}

Disk::Names Disk::Left(const Node& directory, Unsynced unsynced, Draw& draw) {
  if (unsynced == Unsynced::kLost) return directory.synced_names;
  Names left = directory.names;
  if (unsynced == Unsynced::kNamesStay) return left;
  Names either = directory.names;
  either.insert(directory.synced_names.begin(), directory.synced_names.end());
  for (const auto& [name, node] : either) {
    const Names& from = Heads(draw) ? directory.names : directory.synced_names;
    const auto found = from.find(name);
    if (found == from.end()) {
      left.erase(name);
    } else {
      left[name] = found->second;
    }
  }
  return left;
}

std::string Disk::LeftBytes(const Node& file, Unsynced unsynced, Draw& draw) {
  if (unsynced != Unsynced::kDrawn || file.bytes == file.synced_bytes ||
      Heads(draw))
    return file.synced_bytes;
  return file.bytes.substr(0, draw() % (file.bytes.size() + 1));
}

}  // namespace moe
