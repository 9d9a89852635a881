"""Three models race for each record: one gets slow, the plan that decides changes, one is unpublished."""
