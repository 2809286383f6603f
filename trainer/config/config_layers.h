#ifndef TRAINER_CONFIG_CONFIG_LAYERS_H_
#define TRAINER_CONFIG_CONFIG_LAYERS_H_

#include "trainer/config/train_config.pb.h"

namespace moe {

// Where the values of a configuration come from: each layer has the keys that
// it gives, and a later one wins. What none gives has its default.
struct ConfigLayers {
  TrainConfig preset = {};
  // model.* and router.renormalize of the checkpoint that a run begins with; of
  // one that it goes on from, what gave way (GiveWay) when it began.
  TrainConfig checkpoint = {};
  // The keys of a --config file and, over them, the words of the command line.
  TrainConfig typed = {};

  TrainConfig Merged() const;
};

// Copies the keys that `over` has onto `config`; a blend as a whole.
void Overlay(const TrainConfig& over, TrainConfig& config);

}  // namespace moe

#endif  // TRAINER_CONFIG_CONFIG_LAYERS_H_
