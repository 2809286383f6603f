#include "trainer/config/config_layers.h"

#include <vector>

namespace moe {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;

void OverlaySection(const Message& over, Message& section) {
  std::vector<const FieldDescriptor*> fields;
  over.GetReflection()->ListFields(over, &fields);
  for (const FieldDescriptor* field : fields)
    section.GetReflection()->ClearField(&section, field);
  section.MergeFrom(over);
}

}  // namespace

TrainConfig ConfigLayers::Merged() const {
  TrainConfig config = preset;
  Overlay(checkpoint, config);
  Overlay(typed, config);
  return config;
}

void Overlay(const TrainConfig& over, TrainConfig& config) {
  std::vector<const FieldDescriptor*> sections;
  over.GetReflection()->ListFields(over, &sections);
  for (const FieldDescriptor* section : sections) {
    OverlaySection(over.GetReflection()->GetMessage(over, section),
                   *config.GetReflection()->MutableMessage(&config, section));
  }
}

}  // namespace moe
