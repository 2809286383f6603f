#ifndef TESTS_TRAINER_CHECKPOINT_BUILDER_H_
#define TESTS_TRAINER_CHECKPOINT_BUILDER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/storage/file_system.h"
#include "moe/parameters/parameter_table.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// Makes a checkpoint directory of a small model without training it, whole
// unless a test changes what it is made of.
class CheckpointBuilder {
 public:
  explicit CheckpointBuilder(int vocab_size = 10);

  ParameterTable Table() const;

  // Writes DIRECTORY with everything but the manifest.
  void WriteFiles(const std::string& directory) const;
  // And the manifest, of what is there.
  void Write(const std::string& directory) const;
  static void WriteManifest(const std::string& directory,
                            CheckpointManifest manifest);

  TrainConfig config;
  CheckpointManifest manifest;  // without files
  // By name; the moments have the sizes of the weights.
  std::map<std::string, std::vector<float>> weights;
  std::map<std::string, std::vector<float>> first_moments;
  std::map<std::string, std::vector<float>> second_moments;
  // Elements of a piece of the moments at most.
  int64_t piece_elements = 1000;
};

// One bit of the file is another.
void FlipBit(const std::string& path, int64_t byte);

}  // namespace moe

#endif  // TESTS_TRAINER_CHECKPOINT_BUILDER_H_
